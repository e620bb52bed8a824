import { chmod, lchown } from 'node:fs/promises'

/** Another user of this host, as which root runs a program. */
export interface HostUser {
  /** Name or numeric id as requested. */
  readonly name: string
  readonly uid: number
  readonly gid: number
  /** If true, the program gets the supplementary groups of the user; else none. */
  readonly hasGroups: boolean
  readonly home: string
  /** Path of `setpriv` of util-linux. */
  readonly setpriv: string
}

export interface Program {
  readonly file: string
  readonly args: readonly string[]
}

/** Gives a file or folder to the user. Of a link, the link itself is given. */
export async function changeOwner({ uid, gid }: HostUser, path: string, mode?: number): Promise<void> {
  if (mode !== undefined) await chmod(path, mode)
  await lchown(path, uid, gid)
}
