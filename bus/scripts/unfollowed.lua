-- Users of one partition list a topic no more, unless they follow it again by now.
--
-- KEYS  1 members (of the topic, in this partition), then the follows of each user
-- ARGV  1 topic, then the users
-- Returns  1
-- Atomic because somebody who follows a topic that they do not list could not be erased.
for i = 2, #ARGV do
  if not redis.call('ZSCORE', KEYS[1], ARGV[i]) then redis.call('SREM', KEYS[i], ARGV[1]) end
end
return 1
