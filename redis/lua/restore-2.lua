-- Puts back what Redis lost of a turn's log: all of it, or its tail. Entries that are there stay as they are.
-- KEYS[1] log  KEYS[2] meta
-- ARGV[1] epoch  [2] push channel  [3] ttl ms  [4] user  [5] conversation  [6] pool  [7…] type, data of entries 1, 2 …
-- returns 'ok' | 'fenced'
local meta = redis.call('HMGET', KEYS[2], 'epoch', 'status')
if meta[1] and (tonumber(ARGV[1]) < tonumber(meta[1]) or meta[2] ~= 'running') then return 'fenced' end
local newest = redis.call('XREVRANGE', KEYS[1], '+', '-', 'COUNT', 1)[1]
local last = newest and tonumber(string.match(newest[1], '^%d+')) or 0
redis.call('HSET', KEYS[2], 'epoch', ARGV[1], 'status', 'running', 'owner', ARGV[4], 'conversation', ARGV[5], 'pool', ARGV[6])
for n = last + 1, (#ARGV - 6) / 2 do
  local i = 5 + 2 * n
  redis.call('XADD', KEYS[1], n .. '-0', 'e', ARGV[i], 'd', ARGV[i + 1])
  redis.call('SPUBLISH', ARGV[2], n .. ' ' .. ARGV[i] .. ' ' .. ARGV[i + 1])
end
redis.call('PEXPIRE', KEYS[1], ARGV[3])
redis.call('PEXPIRE', KEYS[2], ARGV[3])
return 'ok'
