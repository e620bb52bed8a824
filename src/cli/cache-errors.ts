import { vmError } from '../errors.js'

const REFUSALS = ['EROFS', 'EACCES', 'EPERM']

/**
 * Runs `remove`, which removes entries from a folder of the cache, and explains permission errors.
 *
 * @throws {InfrastructureError} CACHE_READ_ONLY when the folder is not writable. Other errors of
 *   `remove` are rethrown.
 */
export async function explainReadOnly<T>(folder: string, remove: () => Promise<T>): Promise<T> {
  try {
    return await remove()
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException
    if (!REFUSALS.includes(code ?? '')) throw error
    throw vmError('CACHE_READ_ONLY', {
      summary: `Entries of ${folder} cannot be removed.`,
      expected: 'a cache that is writable for this user',
      got: message,
      hint: 'Run the command as the owner of the cache, or remount its file system read-write.',
      cause: error,
    })
  }
}
