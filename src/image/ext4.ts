import { lstat, readdir, rm, writeFile } from 'node:fs/promises'
import { join, relative } from 'node:path'
import { type HostTool, QEMU_IMG, runTool } from './run-tool.js'

export const EXT4_TOOLS = {
  make: { program: 'mke2fs', aptPackage: 'e2fsprogs', why: 'makes the file system of an image' },
  edit: { program: 'debugfs', aptPackage: 'e2fsprogs', why: 'gives the files of an image to root' },
} as const satisfies Record<string, HostTool>

export interface Ext4Options {
  /** The directory whose content becomes the file system's. */
  readonly source: string
  /** The qcow2 disk to write. */
  readonly path: string
  readonly virtualBytes: number
  readonly label: string
  /** Modes by absolute path, for those that an unprivileged builder cannot give (as setuid) or that differ. */
  readonly modes?: Readonly<Record<string, number>>
  /** User and group by absolute path, for what is not root's. */
  readonly owners?: Readonly<Record<string, number>>
  readonly signal?: AbortSignal | undefined
}

/** Makes a disk that is one ext4 file system with a journal, owned by root, without being root. */
export async function makeExt4Disk(options: Ext4Options): Promise<void> {
  const { source, path, signal } = options
  const raw = `${path}.raw`
  const common = { timeoutMs: 120_000, signal }
  const features = ['-O', '^resize_inode', '-J', 'size=16', '-N', '131072', '-m', '0']
  // Tables that the guest's kernel would write in the background after each first mount are written here.
  const extended = 'lazy_itable_init=0,lazy_journal_init=0,nodiscard,root_owner=0:0'
  const size = `${Math.floor(options.virtualBytes / 1024)}k`
  await runTool({
    ...common,
    tool: EXT4_TOOLS.make,
    args: [
      '-q',
      '-F',
      '-t',
      'ext4',
      '-L',
      options.label,
      ...features,
      '-E',
      extended,
      '-d',
      source,
      raw,
      size,
    ],
    purpose: 'making the file system',
  })
  await writeFile(`${path}.commands`, await buildOwnership(options))
  await runTool({
    ...common,
    tool: EXT4_TOOLS.edit,
    args: ['-w', '-f', `${path}.commands`, raw],
    purpose: 'giving the files to root',
  })
  await runTool({
    ...common,
    tool: QEMU_IMG,
    args: ['convert', '-f', 'raw', '-O', 'qcow2', raw, path],
    purpose: 'making the disk',
  })
  await rm(raw)
  await rm(`${path}.commands`)
}

async function buildOwnership({ source, modes = {}, owners = {} }: Ext4Options): Promise<string> {
  const commands: string[] = []
  for (const entry of await readdir(source, { recursive: true, withFileTypes: true })) {
    const file = join(entry.parentPath, entry.name)
    const { uid, gid } = await lstat(file)
    const inside = `"/${relative(source, file)}"`
    if (uid !== 0) commands.push(`set_inode_field ${inside} uid 0`)
    if (gid !== 0) commands.push(`set_inode_field ${inside} gid 0`)
  }
  for (const [file, mode] of Object.entries(modes)) {
    commands.push(`set_inode_field "${file}" mode 0${mode.toString(8)}`)
  }
  for (const [file, owner] of Object.entries(owners)) {
    commands.push(`set_inode_field "${file}" uid ${owner}`, `set_inode_field "${file}" gid ${owner}`)
  }
  return `${commands.join('\n')}\n`
}
