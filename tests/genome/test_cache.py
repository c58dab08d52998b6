"""The cache that is bounded in bytes."""

from galab.genome.cache import ByteLimitedCache


def test_the_least_recently_used_leaves_first() -> None:
    cache: ByteLimitedCache[str] = ByteLimitedCache(10)
    for key in (1, 2, 3):
        cache.put(key, str(key), 3)
    assert cache.get(1) == "1"
    cache.put(4, "4", 4)
    assert list(cache) == [3, 1, 4]
    assert cache.get(2) is None
    assert cache.nbytes == 10


def test_what_is_there_counts_once() -> None:
    cache: ByteLimitedCache[str] = ByteLimitedCache(10)
    cache.put(1, "first", 6)
    cache.put(1, "second", 6)
    assert cache.get(1) == "first"
    assert cache.nbytes == 6


def test_a_value_larger_than_the_cache_is_not_kept() -> None:
    cache: ByteLimitedCache[str] = ByteLimitedCache(5)
    cache.put(1, "large", 6)
    assert list(cache) == []
    assert cache.nbytes == 0


def test_what_is_removed_no_longer_counts() -> None:
    cache: ByteLimitedCache[str] = ByteLimitedCache(10)
    for key in (1, 2, 3):
        cache.put(key, str(key), 3)
    cache.discard(2)
    cache.discard(7)
    assert (list(cache), cache.nbytes) == ([1, 3], 6)
    cache.clear()
    assert (list(cache), cache.nbytes) == ([], 0)
