-- Take an entry out of a stream, whether or not somebody is working it.
--
-- KEYS  1 stream
-- ARGV  1 group, 2 entry id
-- Returns  1, 0 when it was gone
-- Atomic because an entry that is pending and not there would be taken for one that was trimmed.
-- Without a group nobody took anything yet.
redis.pcall('XACK', KEYS[1], ARGV[1], ARGV[2])
return redis.call('XDEL', KEYS[1], ARGV[2])
