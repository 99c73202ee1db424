-- Removes the cached turns of a conversation for good: for a while nobody may put them again.
-- KEYS[1] entry  [2] new  [3] proven  [4] seen  [5] sizes
-- ARGV[1] conversation  [2] for how long, ms
-- The first command needs no memory: a full server goes on from there.
redis.call('DEL', KEYS[1])
redis.call('HSET', KEYS[1], 'gone', 1)
redis.call('PEXPIRE', KEYS[1], ARGV[2])
local size = tonumber(redis.call('HGET', KEYS[5], ARGV[1]) or 0)
if redis.call('ZREM', KEYS[2], ARGV[1]) == 1 then redis.call('HINCRBY', KEYS[5], 'new', -size) end
if redis.call('ZREM', KEYS[3], ARGV[1]) == 1 then redis.call('HINCRBY', KEYS[5], 'proven', -size) end
redis.call('ZREM', KEYS[4], ARGV[1])
redis.call('HDEL', KEYS[5], ARGV[1])
return 1
