-- How many connections listen to a sharded channel. A script, because the command alone has no key: a cluster would not
-- know which node to ask.
-- KEYS[1] any key of the channel's hash tag
-- ARGV[1] channel
return redis.call('PUBSUB', 'SHARDNUMSUB', ARGV[1])[2]
