-- Appends entries under an epoch and pushes the same bytes to the readers.
-- KEYS[1] log  KEYS[2] meta
-- ARGV[1] epoch  [2] push channel  [3] ttl ms  [4] number of the first entry  [5…] type, data of each entry
-- returns 'ok' | 'fenced' | 'missing' (also when entries before the first are missing)
local meta = redis.call('HMGET', KEYS[2], 'epoch', 'status')
if not meta[1] then return 'missing' end
if tonumber(ARGV[1]) < tonumber(meta[1]) or meta[2] ~= 'running' then return 'fenced' end
local newest = redis.call('XREVRANGE', KEYS[1], '+', '-', 'COUNT', 1)[1]
if not newest then return 'missing' end
local last = tonumber(string.match(newest[1], '^%d+'))
local first = tonumber(ARGV[4])
if first > last + 1 then return 'missing' end
if first <= last then
  -- The same append once more: its answer was lost on the way. Anything else means two writers.
  local count = (#ARGV - 4) / 2
  if last == first + count - 1 and newest[2][4] == ARGV[#ARGV] then return 'ok' end
  return 'fenced'
end
if tonumber(ARGV[1]) > tonumber(meta[1]) then redis.call('HSET', KEYS[2], 'epoch', ARGV[1]) end
local n = first
for i = 5, #ARGV, 2 do
  redis.call('XADD', KEYS[1], 'NOMKSTREAM', n .. '-0', 'e', ARGV[i], 'd', ARGV[i + 1])
  redis.call('SPUBLISH', ARGV[2], n .. ' ' .. ARGV[i] .. ' ' .. ARGV[i + 1])
  n = n + 1
end
if redis.call('PTTL', KEYS[1]) < tonumber(ARGV[3]) / 2 then
  redis.call('PEXPIRE', KEYS[1], ARGV[3])
  redis.call('PEXPIRE', KEYS[2], ARGV[3])
end
return 'ok'
