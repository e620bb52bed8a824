import { realpathSync, statSync } from 'node:fs'
import { dirname } from 'node:path'

/**
 * Returns whether another user can enter a folder: it and all folders above grant access to others,
 * or to a group other than the user's private one (whose id equals that of the user on many
 * systems).
 */
export function isOpenToOthers(dir: string): boolean {
  if (process.geteuid === undefined) return false
  for (let path = realpathSync(dir); ; path = dirname(path)) {
    const { mode, uid, gid } = statSync(path)
    if ((mode & (gid === uid ? 0o001 : 0o011)) === 0) return false
    if (path === dirname(path)) return true
  }
}
