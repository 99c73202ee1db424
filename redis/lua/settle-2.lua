-- Gives back what a turn reserved and did not use, once; a turn that used more pays the rest.
-- KEYS[1] bucket hash  KEYS[2] reservations hash
-- ARGV[1] turn  [2] tokens used  [3] tokens per minute
-- returns 1 when this call settled it, else 0
local value = redis.call('HGET', KEYS[2], ARGV[1])
if not value then return 0 end
redis.call('HDEL', KEYS[2], ARGV[1])
local reserved = tonumber(string.match(value, '^(%d+):'))
local t = tonumber(redis.call('HGET', KEYS[1], 't'))
if t then redis.call('HSET', KEYS[1], 't', tostring(math.min(tonumber(ARGV[3]), t + reserved - tonumber(ARGV[2])))) end
return 1
