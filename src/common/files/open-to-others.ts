import { realpathSync, statSync } from 'node:fs'
import { dirname } from 'node:path'

/**
 * Returns whether another user can reach into a folder: it and all folders above let others pass, or a group other than the private one
 * that many systems give each user (whose id is that of the user).
 */
export function isOpenToOthers(dir: string): boolean {
  if (process.geteuid === undefined) return false
  for (let path = realpathSync(dir); ; path = dirname(path)) {
    const { mode, uid, gid } = statSync(path)
    if ((mode & (gid === uid ? 0o001 : 0o011)) === 0) return false
    if (path === dirname(path)) return true
  }
}
