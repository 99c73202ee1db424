-- Writes entry 1 (`open`) of a turn's log, once.
-- KEYS[1] log  KEYS[2] meta
-- ARGV[1] push channel  [2] ttl ms  [3] user  [4] conversation  [5] pool  [6] data
-- returns 1 when this call made the log, 0 when it was there
if redis.call('EXISTS', KEYS[1]) == 1 then return 0 end
redis.call('DEL', KEYS[2])
redis.call('XADD', KEYS[1], '1-0', 'e', 'open', 'd', ARGV[6])
redis.call('HSET', KEYS[2], 'epoch', 0, 'status', 'running', 'owner', ARGV[3], 'conversation', ARGV[4], 'pool', ARGV[5])
redis.call('PEXPIRE', KEYS[1], ARGV[2])
redis.call('PEXPIRE', KEYS[2], ARGV[2])
redis.call('SPUBLISH', ARGV[1], '1 open ' .. ARGV[6])
return 1
