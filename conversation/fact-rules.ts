// The rules by which a sentence in the first person states a fact, as a table: what it looks like, what it becomes in the
// third person, and what only looks like it. They would rather miss a fact than make one up. English first.

export interface FactRule {
  /** Anchored at the beginning of a clause; its first group is the value. */
  readonly pattern: RegExp;
  /** `$1` is the value. */
  readonly text: string;
  readonly topic?: string;
  /** Values that make it something else. */
  readonly except?: RegExp;
}

const I_AM = "(?:i am|i'm|im)";
const NOW =
  '(?:(?:currently|now|also|actually|really|still|just|recently|always|usually|mostly|mainly|absolutely|personally) )*';
const KIN =
  '(?:daughter|son|child|kid|children|kids|daughters|sons|brother|sister|brothers|sisters|siblings|twins|wife|husband|partner|girlfriend|boyfriend|fianc[ée]e?|grandchildren|grandkids)';
const COUNT = '(?:an?|one|two|three|four|five|six|\\d)';
const PET =
  '(?:dogs?|cats?|rabbits?|hamsters?|parrots?|horses?|puppy|kittens?|goldfish|tortoise|snake|lizard|ferret|budgies?|guinea pigs?)';
/** Moods, moments and plans of the day. */
const PASSING =
  /^(?:(?:a |an )?(?:bit|little|lot|few)\b|(?:so|very|too|not|no|here|there|back|done|sure|sorry|glad|happy|sad|tired|bored|hungry|late|ready|fine|good|ok|okay|well|stuck|lost|confused|curious|looking|trying|going|thinking|wondering|asking|having|getting|working on|using|writing|reading|about|at|in|on|out|off|from|just|afraid|aware|able|unable|interested|excited|worried|new)\b|fan of\b)|\b(?:today|tonight|tomorrow|yesterday|right now|at the moment|this (?:morning|afternoon|evening|week|weekend|month)|for now)\b/iu;
const POINTING =
  /^(?:it|this|that|these|those|them|him|her|you|your|how|what|when|where|the (?:idea|way|fact|answer|one|first|second|last|above|following)|to (?:know|see|ask|say|think)|one of)\b/iu;

export const FACT_RULES: readonly FactRule[] = [
  {
    pattern: /^my (?:full |first )?name is (.+)$/iu,
    text: "The user's name is $1.",
    topic: 'name',
  },
  {
    pattern: /^(?:please )?call me (.+)$/iu,
    text: "The user's name is $1.",
    topic: 'name',
    except: /^(?:an?|the|back|when|if|at|on|crazy|later|tomorrow|old)\b/iu,
  },
  {
    pattern: /^(?:people|everyone|my friends|friends) calls? me (.+)$/iu,
    text: "The user's name is $1.",
    topic: 'name',
  },
  {
    pattern: new RegExp(`^i (?:${NOW})live (?:in|near|on) (.+)$`, 'iu'),
    text: 'The user lives in $1.',
    topic: 'home',
    except: /^(?:fear|hope|peace|a world|the moment|the past)\b/iu,
  },
  {
    pattern: new RegExp(`^${I_AM} ${NOW}(?:based|living) (?:in|near|out of) (.+)$`, 'iu'),
    text: 'The user lives in $1.',
    topic: 'home',
  },
  {
    pattern: new RegExp(`^i(?: have|'ve)? ${NOW}moved (?:from .+? )?to (.+)$`, 'iu'),
    text: 'The user lives in $1.',
    topic: 'home',
    except: /\b(?:tab|folder|directory|branch|line|version)\b/iu,
  },
  {
    pattern: new RegExp(
      `^(?:${I_AM} ${NOW}(?:from|originally from)|i (?:come|came) from|i was born in|i grew up in) (.+)$`,
      'iu',
    ),
    text: 'The user is from $1.',
    topic: 'origin',
    except: /^(?:the (?:future|past|other|same)|a (?:distance|book|friend))\b/iu,
  },
  {
    pattern: new RegExp(`^i (?:${NOW})work as (.+)$`, 'iu'),
    text: 'The user works as $1.',
    topic: 'job',
  },
  {
    pattern: new RegExp(`^i (?:${NOW})work (?:for|at) (.+)$`, 'iu'),
    text: 'The user works at $1.',
    topic: 'employer',
    except: /^(?:night|day|home|weekends|noon|it)\b/iu,
  },
  {
    pattern: /^my (?:job|profession|occupation|day job) is (.+)$/iu,
    text: 'The user works as $1.',
    topic: 'job',
    except: /^(?:to|very|so|too|boring|hard|great|stressful|killing)\b/iu,
  },
  {
    pattern: new RegExp(
      `^${I_AM} ${NOW}((?:an? )(?:[\\w-]+ ){0,3}(?:\\w+(?:er|or|ist|ian|ect|eer)|nurse|chef|student|teacher|doctor|architect|freelancer|pilot|judge|clerk|artist|lawyer|scientist|mechanic|electrician|plumber|accountant|consultant|analyst|developer|retiree|pensioner|postdoc|apprentice|professor))(?: (?:in|at|for|by|from|with|working) .+)?$`,
      'iu',
    ),
    text: 'The user is $1.',
    topic: 'job',
    except:
      /^(?:an? )(?:\w+ )*(?:(?:other|never|number|better|bigger|believer|lover|hater|beginner|newcomer|foreigner|prisoner|loser|winner|supporter|member|user|reader|owner|hoarder|early riser|sister|brother|mother|father|daughter|bother)\b)/iu,
  },
  {
    pattern: new RegExp(
      `^${I_AM} ${NOW}(retired|self-employed|unemployed|a stay-at-home (?:mum|mom|dad|parent))$`,
      'iu',
    ),
    text: 'The user is $1.',
    topic: 'job',
  },
  {
    pattern: new RegExp(`^${I_AM} ${NOW}(\\d{1,3}|[a-z]+-?[a-z]*) years? old$`, 'iu'),
    text: 'The user is $1 years old.',
    topic: 'age',
  },
  {
    pattern: /^my birthday is (?:on )?(.+)$/iu,
    text: "The user's birthday is $1.",
    topic: 'birthday',
    except: /^(?:coming|soon|today|tomorrow|next|this)\b/iu,
  },
  {
    pattern: new RegExp(
      `^${I_AM} ${NOW}(married|single|engaged|divorced|widowed|a (?:single )?(?:mother|father|mum|mom|dad|parent|grandmother|grandfather)(?: of ${COUNT}(?: \\w+)?)?)$`,
      'iu',
    ),
    text: 'The user is $1.',
    topic: 'family status',
  },
  {
    pattern: new RegExp(`^i have (${COUNT} (?:\\w+ ){0,2}${KIN})\\b.*$`, 'iu'),
    text: 'The user has $1.',
  },
  {
    pattern: new RegExp(
      `^i (?:have|own|'ve got) (${COUNT} (?:[\\w-]+ ){0,3}${PET}(?:,? (?:called|named) [\\w' -]+)?)\\b.*$`,
      'iu',
    ),
    text: 'The user has $1.',
  },
  {
    pattern: new RegExp(`^my (${PET})(?:'s name is| is (?:called|named)) (.+)$`, 'iu'),
    text: "The user's $1 is called $2.",
  },
  {
    pattern: new RegExp(`^${I_AM} ${NOW}((?:\\w+ )?allergic to .+)$`, 'iu'),
    text: 'The user is $1.',
  },
  {
    pattern: new RegExp(`^i have (an? (?:\\w+ )?allergy to .+|an? \\w+ allergy)$`, 'iu'),
    text: 'The user has $1.',
  },
  {
    pattern: new RegExp(
      `^${I_AM} ${NOW}((?:a )?(?:strict |lifelong )?(?:vegetarian|vegan|pescatarian|lactose intolerant|gluten intolerant|teetotal(?:ler)?))$`,
      'iu',
    ),
    text: 'The user is $1.',
    topic: 'diet',
  },
  {
    pattern: /^i (?:don't|do not|can't|cannot|never) (eat|drink) (.+)$/iu,
    text: 'The user does not $1 $2.',
    except: PASSING,
  },
  {
    pattern: new RegExp(`^i (?:${NOW})speak (.+)$`, 'iu'),
    text: 'The user speaks $1.',
    except: /^(?:to|for|with|at|about|up|out|in|too|very|as)\b/iu,
  },
  {
    pattern: /^my (?:native|first|mother) (?:language|tongue) is (.+)$/iu,
    text: "The user's first language is $1.",
    topic: 'first language',
  },
  {
    pattern: new RegExp(
      `^(?:${I_AM} ${NOW}(?:learning|studying)|i (?:${NOW})(?:study|am teaching myself)) (.+)$`,
      'iu',
    ),
    text: 'The user is learning $1.',
    except: PASSING,
  },
  {
    pattern: new RegExp(
      `^${I_AM} ${NOW}(training for|saving (?:up )?for|writing a (?:book|thesis|novel|dissertation)|planning to|preparing for|working towards?|hoping to become) ?(.*)$`,
      'iu',
    ),
    text: 'The user is $1 $2.',
  },
  {
    pattern:
      /^(?:my (?:goal|dream|ambition|new year's resolution) (?:is|this year is)(?: to)?|i (?:want|hope|plan|intend) to become) (.+)$/iu,
    text: "The user's goal: $1.",
  },
  {
    pattern: /^my favou?rite ([\w -]{2,40}?) (is|are) (.+)$/iu,
    text: "The user's favourite $1 $2 $3.",
  },
  {
    pattern: new RegExp(`^i (?:${NOW})(?:love|adore|'m in love with) (.+)$`, 'iu'),
    text: 'The user loves $1.',
    except: POINTING,
  },
  {
    pattern: new RegExp(`^i (?:${NOW})(?:like|enjoy) (.+)$`, 'iu'),
    text: 'The user likes $1.',
    except: POINTING,
  },
  {
    pattern: new RegExp(`^i (?:${NOW})prefer (.+)$`, 'iu'),
    text: 'The user prefers $1.',
    except: POINTING,
  },
  {
    pattern: new RegExp(
      `^i (?:${NOW})(?:hate|dislike|detest|can't stand|cannot stand|(?:don't|do not) (?:like|enjoy)) (.+)$`,
      'iu',
    ),
    text: 'The user dislikes $1.',
    except: POINTING,
  },
  {
    pattern: new RegExp(
      `^${I_AM} ${NOW}(?:a (?:big |huge |great )?fan of|(?:really |very )?into|passionate about|keen on) (.+)$`,
      'iu',
    ),
    text: 'The user likes $1.',
    except: POINTING,
  },
  {
    pattern: new RegExp(
      `^i (?:${NOW})play (?:the )?(piano|guitar|violin|cello|drums|flute|bass|saxophone|trumpet|chess|tennis|football|soccer|basketball|badminton|golf|rugby|hockey|squash|volleyball|cricket|go)\\b.*$`,
      'iu',
    ),
    text: 'The user plays $1.',
  },
  {
    pattern: new RegExp(`^i (?:${NOW})(?:drive|ride|own) (an? .+)$`, 'iu'),
    text: 'The user has $1.',
    except: new RegExp(`${PET}|\\b(?:point|mistake)\\b`, 'iu'),
  },
  {
    pattern:
      /^i (?:always |usually |mostly |mainly )?use (.+?) (?:as my (?:main |daily )?\w+|for (?:work|everything|most things)|every day|daily)$/iu,
    text: 'The user uses $1.',
  },
  {
    pattern: new RegExp(
      `^i (?:${NOW})(go (?:running|hiking|climbing|swimming|cycling|sailing|skiing|fishing)|run|cycle|swim|climb|hike|sail|ski|garden|knit|paint|bake)(?: (?:every|most|on|twice|once|three times|regularly|a lot).*)?$`,
      'iu',
    ),
    text: 'The user likes to $1.',
  },
];
