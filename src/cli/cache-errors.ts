import { vmError } from '../errors.js'

const REFUSALS = ['EROFS', 'EACCES', 'EPERM']

/**
 * Runs what removes entries of a folder of the cache.
 *
 * @throws {InfrastructureError} CACHE_READ_ONLY when the folder cannot be changed; and whatever `work` throws.
 */
export async function removing<T>(folder: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work()
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException
    if (!REFUSALS.includes(code ?? '')) throw error
    throw vmError('CACHE_READ_ONLY', {
      summary: `Nothing can be removed from ${folder}.`,
      expected: 'a cache that this user may write to',
      got: message,
      hint: 'Run this as the user to whom the cache belongs, or remount its file system read-write.',
      cause: error,
    })
  }
}
