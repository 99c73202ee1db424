-- Notes what a gateway's readers of a running turn do; a log that is gone is not begun by it.
-- KEYS[1] meta
-- ARGV[1] field  [2] 'flowing' | number of an entry | '' to forget it
if redis.call('EXISTS', KEYS[1]) == 0 then return 0 end
if ARGV[2] == '' then return redis.call('HDEL', KEYS[1], ARGV[1]) end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
return 1
