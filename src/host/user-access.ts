import { requireFiles } from '../common/host-error.js'
import { asUser, type HostUser } from '../common/process/host-user.js'

/** What is to be done with a file: `r`, `w` and `x`, as in access(2); of a folder `x` is to go through it. */
export type Access = 'r' | 'w' | 'x' | 'rw' | 'rx' | 'wx'

/** Whether a user may do that, found out by that user's own try: whatever decides of it on this host has its say. */
export async function mayUse(user: HostUser, path: string, access: Access): Promise<boolean> {
  const { execa } = await import('execa')
  const tests = [...access].flatMap((one, index) => [...(index === 0 ? [] : ['-a']), `-${one}`, path])
  const { file, args } = asUser(user, { file: 'test', args: tests })
  // What is in this process's environment is none of that user's business.
  const env = { PATH: process.env.PATH }
  requireFiles()
  const { exitCode, stderr } = await execa(file, args, { reject: false, env, extendEnv: false })
  if (exitCode !== 0 && exitCode !== 1) throw new Error(`no program runs as ${user.name}: ${stderr}`)
  return exitCode === 0
}
