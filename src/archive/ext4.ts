import { rm, writeFile } from 'node:fs/promises'
import { basename, dirname } from 'node:path'
import { type HostTool, QEMU_IMG, runTool } from '../common/process/run-tool.js'
import { vmError } from '../errors.js'
import { listFolder } from './list-folder.js'
import type { Attributes } from './root-tree.js'

export const EXT4_TOOLS = {
  make: {
    program: 'mke2fs',
    aptPackage: 'e2fsprogs',
    why: 'makes the file system of an image',
    parsesImages: true,
  },
  edit: {
    program: 'debugfs',
    aptPackage: 'e2fsprogs',
    why: 'gives the files of an image to root',
    parsesImages: true,
  },
} as const satisfies Record<string, HostTool>

export interface Ext4Options {
  /** The directory whose content becomes the file system's. */
  readonly source: string
  /** The file to write. */
  readonly path: string
  readonly virtualBytes: number
  readonly label: string
  /** Of the file system. @default a new one */
  readonly uuid?: string
  /** Modes by absolute path, for those that an unprivileged builder cannot give (as setuid) or that differ. */
  readonly modes?: Readonly<Record<string, number>>
  /** User and group by absolute path, for what is not root's. */
  readonly owners?: Readonly<Record<string, number>>
  /** What each file is to be, by its path from `source` on. @default root's, with the mode that it has */
  readonly attributes?: ReadonlyMap<string, Attributes>
  /** Folders that are to be there, by absolute path, where the source does not have them. @default none */
  readonly folders?: readonly string[]
  /** A program in place of whatever is there, and its absolute path, in which no folder is a link. @default none */
  readonly program?: { readonly path: string; readonly content: Uint8Array } | undefined
  /** How many files it can hold. @default 131072 */
  readonly inodes?: number
  readonly signal?: AbortSignal | undefined
}

const BUILD_MS = 600_000

/** Makes a qcow2 disk that is one ext4 file system with a journal, owned by root, without being root. */
export async function makeExt4Disk(options: Ext4Options): Promise<void> {
  const { path, signal } = options
  const raw = `${path}.raw`
  await makeExt4({ ...options, path: raw })
  await runTool({
    tool: QEMU_IMG,
    args: ['convert', '-f', 'raw', '-O', 'qcow2', raw, path],
    purpose: 'making the disk',
    timeoutMs: BUILD_MS,
    signal,
  })
  await rm(raw)
}

/** Makes the file system in a raw file, without being root. */
export async function makeExt4(
  options: Ext4Options & {
    /** Where in the file it begins: what is before it stays. @default 0 */
    readonly offsetBytes?: number
  },
): Promise<void> {
  const { source, path, signal, offsetBytes = 0, uuid } = options
  const common = { timeoutMs: BUILD_MS, signal }
  const features = [
    '-O',
    '^resize_inode',
    '-J',
    'size=16',
    '-N',
    String(options.inodes ?? 131_072),
    '-m',
    '0',
  ]
  const extended = [
    // Tables that the guest's kernel would write in the background after each first mount are written here.
    'lazy_itable_init=0,lazy_journal_init=0,nodiscard,root_owner=0:0',
    ...(offsetBytes === 0 ? [] : [`offset=${offsetBytes}`]),
  ].join(',')
  const size = `${Math.floor(options.virtualBytes / 1024)}k`
  await runTool({
    ...common,
    tool: EXT4_TOOLS.make,
    args: [
      ...['-q', '-F', '-t', 'ext4', '-L', options.label, ...(uuid === undefined ? [] : ['-U', uuid])],
      ...features,
      ...['-E', extended, '-d', source, path, size],
    ],
    purpose: 'making the file system',
  })
  if (options.program !== undefined) await writeFile(`${path}.program`, options.program.content)
  await writeFile(`${path}.commands`, await buildCommands(options))
  await runTool({
    ...common,
    tool: EXT4_TOOLS.edit,
    args: [
      ...['-w', '-f', `${path}.commands`],
      // As libext2fs takes it: part of the name.
      offsetBytes === 0 ? path : `${path}?offset=${offsetBytes}`,
    ],
    purpose: 'giving the files to root',
  })
  await rm(`${path}.commands`)
  await rm(`${path}.program`, { force: true })
}

/** What debugfs is to do: a command on each line. */
async function buildCommands(options: Ext4Options): Promise<string> {
  const { folders = [], program } = options
  const commands = [...(await buildOwnership(options)), 'set_inode_field <2> mode 040755']
  for (const folder of folders) commands.push(`mkdir ${quote(folder)}`)
  if (program !== undefined) {
    const { path } = program
    // Debugfs writes a file of the folder that it is in.
    commands.push(`cd ${quote(dirname(path))}`, `rm ${quote(path)}`)
    commands.push(`write ${quote(`${options.path}.program`)} ${quote(basename(path))}`)
    commands.push(
      ...['uid 0', 'gid 0', 'mode 0100755'].map((field) => `set_inode_field ${quote(path)} ${field}`),
    )
  }
  return `${commands.join('\n')}\n`
}

async function buildOwnership(options: Ext4Options): Promise<string[]> {
  const { source, modes = {}, owners = {}, attributes } = options
  const commands: string[] = []
  for await (const { entry, file, path, stats } of listFolder(source)) {
    // debugfs would take what comes after a line end for a command of its own.
    if (/\p{Cc}/u.test(entry.name)) throw oddName(file)
    const wanted: Partial<Attributes> | undefined =
      attributes === undefined ? { uid: 0, gid: 0 } : attributes.get(path)
    for (const field of ['uid', 'gid', 'mode'] as const) {
      const value = wanted?.[field]
      if (value === undefined || value === Number(stats[field])) continue
      const inside = quote(`/${path}`)
      commands.push(`set_inode_field ${inside} ${field} 0${value.toString(8)}`)
    }
  }
  for (const [file, mode] of Object.entries(modes)) {
    commands.push(`set_inode_field ${quote(file)} mode 0${mode.toString(8)}`)
  }
  for (const [file, owner] of Object.entries(owners)) {
    commands.push(
      `set_inode_field ${quote(file)} uid ${owner}`,
      `set_inode_field ${quote(file)} gid ${owner}`,
    )
  }
  return commands
}

function oddName(file: string) {
  return vmError('IMAGE_INVALID', {
    summary: 'A file of the root file system has a name that cannot be written.',
    expected: 'names without control characters',
    got: JSON.stringify(file),
    hint: 'Rename the file, or leave it out.',
  })
}

/** As debugfs reads words: a quotation mark in one is doubled. */
function quote(word: string): string {
  return `"${word.replaceAll('"', '""')}"`
}
