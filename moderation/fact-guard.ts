// What is never remembered of what a user says, whatever a model thinks of it: secrets, ways to reach people, other people,
// and the special categories of personal data. Rules now; a learnt classifier comes behind the same interface.

export type FactRefusal = 'secret' | 'contact' | 'third-party' | 'special-category' | 'instruction';

/** A judge of what may be kept of a user. */
export interface FactGuard {
  /** Why neither the fact nor the sentence behind it may be kept; null when it may. */
  refuses(fact: string, sentence: string): Promise<FactRefusal | null> | FactRefusal | null;
}

/** Words around a secret, whether or not it follows. */
const SECRET_WORDS =
  /\b(?:pass(?:word|code|phrase|wd)s?|pin(?: code| number)?|secret|api[ -]?keys?|access[ -]?tokens?|token|credential|private key|seed phrase|recovery (?:code|phrase)|security (?:code|question|answer)|cvv|cvc|iban|routing number|account number|credit card|debit card|card number|social security|ssn|passport|licen[cs]e number|tax id|login)\b/iu;
/** Forms of well-known keys: long runs of letters and digits mixed, hexadecimal, JSON Web Tokens, PEM. */
const SECRET_FORMS =
  /\b(?:sk|pk|rk|ghp|gho|ghs|github_pat|xox[abpr]|glpat|hf|AKIA|ASIA|AIza)[-_]?[A-Za-z0-9_-]{10,}|\beyJ[\w-]+\.[\w-]+|-----BEGIN|\b(?=[A-Za-z0-9+/_-]*\d)(?=[A-Za-z0-9+/_-]*[A-Za-z])[A-Za-z0-9+/_-]{16,}={0,2}|\b[0-9a-f]{24,}\b/u;
/** Thirteen digits and more are a card, an account or an identity. */
const LONG_NUMBER = /(?:\d[ -]?){9,}/u;
const CONTACT =
  /[\w.+-]+@[\w-]+\.\w+|\bhttps?:\/\/|(?:\+|\b00)\d[\d ()-]{6,}|\b(?:phone|mobile|cell|telephone) (?:number|no)\b|\b\d+[a-z]?,? (?:[A-Z][\w']+ ){1,3}(?:street|st|road|rd|avenue|ave|lane|drive|way|close|court|square)\b/iu;
/** A person beside the user, of whom more is told than that there is one. */
const PERSON =
  '(?:wife|husband|partner|girlfriend|boyfriend|fianc[ée]e?|ex|mother|father|mum|mom|dad|parents|son|daughter|brother|sister|uncle|aunt|cousin|nephew|niece|grandmother|grandfather|grandma|grandpa|friend|boss|manager|colleague|coworker|co-worker|neighbou?r|roommate|flatmate|teacher|doctor|landlord|client|employee|student|child|kid)';
const THIRD_PARTY = new RegExp(
  `\\b(?:my|their|our) (?:[\\w-]+ ){0,2}${PERSON}(?:s|'s)?\\b|\\b${PERSON}s? (?:called|named|who|whose)\\b|\\b(?:he|she|his|her|him)\\b`,
  'iu',
);
const HEALTH =
  /\b(?:diagnos\w+|disease|cancer|tumou?r|diabet\w+|hiv|aids|depress\w+|anxi(?:ety|ous)|bipolar|schizophren\w+|adhd|autis\w+|asperger\w*|ptsd|ocd|epilep\w+|asthma\w*|migraine\w*|chronic|disab\w+|wheelchair|pregnan\w+|miscarr\w+|abortion|ivf|infertil\w+|menopaus\w+|surgery|chemo\w*|dialysis|transplant|medicat\w+|medicine|pills?|insulin|antidepress\w+|ssri|therap(?:y|ist)|psychiatr\w+|rehab|addict\w*|alcoholi\w+|sober|overdos\w+|suicid\w+|self-harm\w*|eating disorder|anorexi\w+|bulimi\w+|dement\w+|alzheimer\w*|parkinson\w*|sclerosis|dyslexi\w+|deaf|blind|transgender surgery|blood (?:pressure|type|sugar)|cholesterol)\b/iu;
const BELIEF =
  /\b(?:christian\w*|catholic\w*|protestant\w*|muslim\w*|islam\w*|jewish|jew|judaism|hindu\w*|buddhis\w+|sikh\w*|atheis\w+|agnostic\w*|mormon\w*|evangelical|religio\w+|church|mosque|synagogue|temple|pray\w*|god|allah|republican\w*|democrats?|labour party|tory|tories|conservative party|communis\w+|socialis\w+|fascis\w+|trump|biden|vot(?:e|ed|ing)|politic\w+|trade union|union (?:member|rep)|activist)\b/iu;
const SELF =
  /\b(?:gay|lesbian|bisexual|straight|queer|transgender|trans (?:man|woman)|non-?binary|asexual|pansexual|sexual\w*|sex life|virgin|porn\w*|fetish\w*|ethnic\w*|race|racial|black|white|caucasian|asian-american|african-american|latin[oax]|hispanic|native american|indigenous|refugee|undocumented|asylum|criminal|convict\w*|prison|jail|arrested|probation|felon\w*)\b/iu;
/** `fan of the white album` and `black coffee` are no statements about people. */
const HARMLESS =
  /\b(?:black|white) (?:coffee|tea|wine|chocolate|bread|rice|pepper|cat|dog|metal|album|noise|holes?|bean\w*|olives?|sabbath|mirror|russian)\b|\b(?:red|green) (?:and|or) (?:black|white)\b|\brace (?:cars?|bikes?|walking)\b|\bstraight (?:razor|bourbon|whisk)\w*/giu;
const ALLERGY = /\b(?:allerg(?:y|ic)|lactose intolerant|gluten intolerant)\b/iu;
/** Text that would steer a model where it stands beside a prompt. */
const INSTRUCTION =
  /\b(?:ignore|disregard|forget|override) (?:all|any|every|your|the|previous|prior|these)\b|\bsystem prompt\b|\byou (?:must|shall|are now|will now)\b|\bjailbreak\b|<\|?[\w_]+\|?>|\b(?:developer|admin|god|debug) mode\b/iu;

export class RuleFactGuard implements FactGuard {
  refuses(fact: string, sentence: string): FactRefusal | null {
    // What stands beside a secret is as telling as the fact itself.
    for (const text of [fact, sentence]) {
      if (SECRET_WORDS.test(text) || SECRET_FORMS.test(text) || LONG_NUMBER.test(text))
        return 'secret';
      if (CONTACT.test(text)) return 'contact';
      if (INSTRUCTION.test(text)) return 'instruction';
    }
    if (THIRD_PARTY.test(fact)) return 'third-party';
    const plain = fact.replace(HARMLESS, '');
    if (BELIEF.test(plain) || SELF.test(plain)) return 'special-category';
    // An allergy is health too; it is kept because a recipe that ignores it is worse.
    return HEALTH.test(plain) && !ALLERGY.test(plain) ? 'special-category' : null;
  }
}
