-- Writes cached turns, whole (by the holder of the lease) or those that make a version from the one before it, and makes room.
-- KEYS[1] entry  [2] new: id → when it was last used  [3] proven: id → score  [4] seen: id → score  [5] sizes
-- ARGV[1] conversation  [2] version  [3] lease, '' to append  [4] is complete 0 | 1  [5] ttl ms  [6] most turns
--   [7] most bytes of an entry  [8] of all new entries  [9] of all proven ones  [10] prefix of entries' keys  [11 …] turns
-- returns 1 when written, 0 when refused; an error when memory is full, with nothing changed
--
-- Entries other than KEYS[1] are named by the prefix: they are in the same slot. New ones push each other out in the order of
-- their last use; who leaves is kept among the proven ones if it was used more than the least used of those.
local OVERHEAD = 300
local id, version, isPut = ARGV[1], tonumber(ARGV[2]), ARGV[3] ~= ''
local entry = redis.call('HMGET', KEYS[1], 'version', 'gone', 'lease', 'from', 'to', 'bytes', 'complete')
local kept = tonumber(entry[1])
if entry[2] then return 0 end
if isPut and entry[3] ~= ARGV[3] then return 0 end
if isPut and kept and kept >= version then
  redis.call('HDEL', KEYS[1], 'lease', 'until')
  return 0
end
if not isPut and kept ~= version - 1 then return 0 end
-- First the command that a full server refuses, before anything is changed.
local now = redis.call('HINCRBY', KEYS[5], 'uses', 0)

local from, to, bytes, complete = 1, 0, 0, ARGV[4]
if isPut then
  redis.call('DEL', KEYS[1])
else
  from, to, bytes, complete = tonumber(entry[4]), tonumber(entry[5]), tonumber(entry[6]), entry[7]
end
for index = 11, #ARGV do
  to = to + 1
  bytes = bytes + #ARGV[index]
  redis.call('HSET', KEYS[1], to, ARGV[index])
end
while from <= to and (to - from + 1 > tonumber(ARGV[6]) or bytes > tonumber(ARGV[7])) do
  bytes = bytes - redis.call('HSTRLEN', KEYS[1], from)
  redis.call('HDEL', KEYS[1], from)
  from = from + 1
  complete = 0
end
redis.call('HSET', KEYS[1], 'version', version, 'from', from, 'to', to, 'bytes', bytes, 'complete', complete)
redis.call('HDEL', KEYS[1], 'lease', 'until')
redis.call('PEXPIRE', KEYS[1], ARGV[5])

local sums = redis.call('HMGET', KEYS[5], 'new', 'proven')
local inNew, inProven = tonumber(sums[1] or 0), tonumber(sums[2] or 0)
local function sizeOf(each) return tonumber(redis.call('HGET', KEYS[5], each) or 0) end
local grown = bytes + OVERHEAD - sizeOf(id)
redis.call('HSET', KEYS[5], id, bytes + OVERHEAD)
if redis.call('ZSCORE', KEYS[3], id) then
  inProven = inProven + grown
else
  redis.call('ZADD', KEYS[2], now, id)
  inNew = inNew + grown
end
local function drop(each)
  redis.call('DEL', ARGV[10] .. each)
  redis.call('HDEL', KEYS[5], each)
end
--- The least used proven entry but this one, and its score.
local function least()
  local two = redis.call('ZRANGE', KEYS[3], 0, 1, 'WITHSCORES')
  if two[1] == id then return two[3], tonumber(two[4]) end
  return two[1], tonumber(two[2])
end
local function dropProven(each, score)
  inProven = inProven - sizeOf(each)
  redis.call('ZREM', KEYS[3], each)
  redis.call('ZADD', KEYS[4], score, each)
  drop(each)
end
while inNew > tonumber(ARGV[8]) and redis.call('ZCARD', KEYS[2]) > 1 do
  local oldest = redis.call('ZRANGE', KEYS[2], 0, 1)
  local each = oldest[1] == id and oldest[2] or oldest[1]
  local size, score = sizeOf(each), tonumber(redis.call('ZSCORE', KEYS[4], each) or 0)
  redis.call('ZREM', KEYS[2], each)
  inNew = inNew - size
  while inProven + size > tonumber(ARGV[9]) do
    local worst, worstScore = least()
    if not worst or (worstScore >= score and redis.call('EXISTS', ARGV[10] .. worst) == 1) then break end
    dropProven(worst, worstScore)
  end
  if inProven + size <= tonumber(ARGV[9]) then
    inProven = inProven + size
    redis.call('ZADD', KEYS[3], score, each)
    redis.call('ZREM', KEYS[4], each)
  else
    drop(each)
  end
end
while inProven > tonumber(ARGV[9]) do
  local worst, worstScore = least()
  if not worst then break end
  dropProven(worst, worstScore)
end
redis.call('HSET', KEYS[5], 'new', inNew, 'proven', inProven)
for key = 2, 5 do redis.call('PEXPIRE', KEYS[key], ARGV[5]) end
return 1
