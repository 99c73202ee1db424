-- Ends a process's lease and forgets its tasks: it stopped in order and has none, or it was lost and they are handed back.
-- KEYS[1] leases  KEYS[2] tasks
-- ARGV[1] process  [2…] fields of its tasks
redis.call('ZREM', KEYS[1], ARGV[1])
for i = 2, #ARGV do redis.call('HDEL', KEYS[2], ARGV[i]) end
return 1
