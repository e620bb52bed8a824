import { resolve } from 'node:path'
import { requireFiles } from '../common/host-error.js'
import { asUser } from '../common/process/as-user.js'
import type { HostUser } from '../common/process/host-user.js'

/** Access modes as in access(2): read, write, and execute (for folders: traverse). */
export type Access = 'r' | 'w' | 'x' | 'rw' | 'rx' | 'wx'

/**
 * Returns true if a user has access to a path. Tests it as that user, so that ACLs and security
 * modules apply.
 */
export async function mayUse(user: HostUser, path: string, access: Access): Promise<boolean> {
  const { execa } = await import('execa')
  const absolute = resolve(path) // the program runs in another folder
  const tests = [...access].flatMap((one, index) => [...(index === 0 ? [] : ['-a']), `-${one}`, absolute])
  const settings = {
    reject: false,
    stdio: ['ignore', 'ignore', 'pipe'],
    env: { PATH: process.env.PATH },
  } as const
  requireFiles()
  const { exitCode, stderr } = await execa(...asUser(user, { file: 'test', args: tests }, settings))
  if (exitCode !== 0 && exitCode !== 1) throw new Error(`programs cannot run as ${user.name}: ${stderr}`)
  return exitCode === 0
}
