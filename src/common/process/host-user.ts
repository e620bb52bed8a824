import { chmod, lchown } from 'node:fs/promises'

/** Another user of this host, as whom root runs a program. */
export interface HostUser {
  /** As it was asked for: a name, or numbers. */
  readonly name: string
  readonly uid: number
  readonly gid: number
  /** Whether it has the supplementary groups that this host has it in; else it has none. */
  readonly hasGroups: boolean
  readonly home: string
  /** The program setpriv of util-linux. */
  readonly setpriv: string
}

export interface Program {
  readonly file: string
  readonly args: readonly string[]
}

/** The program as that user, with that user's groups, and without a way back (setpriv(1)). The process is the program's own. */
export function asUser(
  { setpriv, uid, gid, hasGroups }: HostUser,
  { file, args }: Program,
  more: readonly string[] = [],
): Program {
  const groups = hasGroups ? '--init-groups' : '--clear-groups'
  const user = ['--reuid', String(uid), '--regid', String(gid), groups, '--no-new-privs']
  return { file: setpriv, args: [...user, ...more, '--', file, ...args] }
}

/** Makes a file or folder the user's, and nobody else's. A link is given itself, not what it leads to. */
export async function giveTo({ uid, gid }: HostUser, path: string, mode?: number): Promise<void> {
  if (mode !== undefined) await chmod(path, mode)
  await lchown(path, uid, gid)
}
