-- Reads the cached turns of a conversation if they are of at least a version; else says who may load them.
-- KEYS[1] entry  [2] new: id → when it was last used  [3] proven: id → score  [4] seen: id → score  [5] sizes
-- ARGV[1] conversation  [2] version  [3] token for a lease  [4] lease ms  [5] ttl ms
-- returns {'hit', field, value …} or {'stale' | 'miss', 'granted' | 'taken' | ''}
--
-- A score is the logarithm of the decayed number of uses, in uses of this part of the cache as time: it stays right while
-- nothing happens, and a night's rest ages nobody.
local id = ARGV[1]
local entry = redis.call('HMGET', KEYS[1], 'version', 'gone', 'lease', 'until')
local version = tonumber(entry[1])
-- The books are kept if there is room; a full Redis still answers.
local now = redis.pcall('HINCRBY', KEYS[5], 'uses', 1)
if type(now) == 'number' then
  local entries = redis.call('ZCARD', KEYS[2]) + redis.call('ZCARD', KEYS[3])
  local span = 24 * (entries + 1)
  local function use(key)
    local score = tonumber(redis.call('ZSCORE', key, id) or now)
    local later, sooner = math.max(score, now), math.min(score, now)
    redis.call('ZADD', key, later + span * math.log(1 + math.exp((sooner - later) / span)), id)
  end
  if redis.call('ZSCORE', KEYS[3], id) then
    use(KEYS[3])
  else
    use(KEYS[4])
    redis.call('ZADD', KEYS[2], 'XX', now, id)
    if redis.call('ZCARD', KEYS[4]) > 4 * entries + 16 then redis.call('ZPOPMIN', KEYS[4], 2) end
  end
  for key = version and 1 or 2, 5 do
    if redis.call('PTTL', KEYS[key]) < ARGV[5] - 60000 then redis.call('PEXPIRE', KEYS[key], ARGV[5]) end
  end
end
if entry[2] then return {'miss', ''} end
if version and version >= tonumber(ARGV[2]) then
  local found = redis.call('HGETALL', KEYS[1])
  table.insert(found, 1, 'hit')
  return found
end
local kind = version and 'stale' or 'miss'
local clock = redis.call('TIME')
local ms = clock[1] * 1000 + math.floor(clock[2] / 1000)
if entry[3] and tonumber(entry[4]) > ms then return {kind, 'taken'} end
local set = redis.pcall('HSET', KEYS[1], 'lease', ARGV[3], 'until', ms + ARGV[4])
if type(set) ~= 'number' then return {kind, ''} end
if not version then redis.call('PEXPIRE', KEYS[1], 2 * ARGV[4]) end
return {kind, 'granted'}
