-- Marks a running log cancelled and tells its worker.
-- KEYS[1] meta
-- ARGV[1] control channel
-- returns 1 when the turn runs, else 0
if redis.call('HGET', KEYS[1], 'status') ~= 'running' then return 0 end
redis.call('HSET', KEYS[1], 'cancel', 1)
redis.call('SPUBLISH', ARGV[1], 'cancel')
return 1
