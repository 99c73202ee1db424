-- Appends the closing entries behind whatever is there, once, and closes the log for every writer.
-- KEYS[1] log  KEYS[2] meta
-- ARGV[1] push channel  [2] ttl ms of an ended log  [3…] type, data of each entry, `end` last
-- returns 'ok' | 'missing': readers that are still there hear of the end under the number 0 then, and ask the store
local newest = redis.call('XREVRANGE', KEYS[1], '+', '-', 'COUNT', 1)[1]
if not newest then
  redis.call('SPUBLISH', ARGV[1], '0 ' .. ARGV[#ARGV - 1] .. ' ' .. ARGV[#ARGV])
  return 'missing'
end
if redis.call('HGET', KEYS[2], 'status') == 'ended' then return 'ok' end
local n = tonumber(string.match(newest[1], '^%d+')) + 1
for i = 3, #ARGV, 2 do
  redis.call('XADD', KEYS[1], n .. '-0', 'e', ARGV[i], 'd', ARGV[i + 1])
  redis.call('SPUBLISH', ARGV[1], n .. ' ' .. ARGV[i] .. ' ' .. ARGV[i + 1])
  n = n + 1
end
redis.call('HSET', KEYS[2], 'status', 'ended')
redis.call('PEXPIRE', KEYS[1], ARGV[2])
redis.call('PEXPIRE', KEYS[2], ARGV[2])
return 'ok'
