import { onTestFinished } from 'vitest'
import { ownTmpdir } from './own-tmpdir.js'

/** Lets this test use a cache of its own; one that is not given begins empty. Gives its path. */
export function ownCache(cacheDir = ownTmpdir()): string {
  const before = process.env.WITHVM_CACHE
  process.env.WITHVM_CACHE = cacheDir
  onTestFinished(() => {
    if (before === undefined) delete process.env.WITHVM_CACHE
    else process.env.WITHVM_CACHE = before
  })
  return cacheDir
}
