import { rm, writeFile } from 'node:fs/promises'
import { basename, dirname } from 'node:path'
import { type HostTool, QEMU_IMG, runTool } from '../common/process/run-tool.js'
import { KIB } from '../common/units.js'
import { vmError } from '../errors.js'
import { listFolder } from './list-folder.js'
import type { Attributes } from './root-tree.js'

export const EXT4_TOOLS = {
  make: {
    program: 'mke2fs',
    aptPackage: 'e2fsprogs',
    why: 'creates the file system of an image',
    parsesImages: true,
  },
  edit: {
    program: 'debugfs',
    aptPackage: 'e2fsprogs',
    why: 'sets the owners of the files of an image',
    parsesImages: true,
  },
} as const satisfies Record<string, HostTool>

export interface Ext4Options {
  /** Directory whose content is copied into the file system. */
  readonly source: string
  /** File to write. */
  readonly path: string
  readonly virtualBytes: number
  readonly label: string
  /** UUID of the file system. @default a random one */
  readonly uuid?: string
  /**
   * Modes by absolute path, for files whose mode an unprivileged builder cannot set (for example
   * setuid) or that differ from the source.
   */
  readonly modes?: Readonly<Record<string, number>>
  /** User and group id by absolute path, for files that do not belong to root. */
  readonly owners?: Readonly<Record<string, number>>
  /**
   * Owner and mode of each file, by its path relative to `source`. @default root and the mode of
   * the source file
   */
  readonly attributes?: ReadonlyMap<string, Attributes>
  /** Absolute paths of folders to create if the source lacks them. @default none */
  readonly folders?: readonly string[]
  /**
   * Program to write, replacing an existing file, with its absolute path. No folder of the path may
   * be a link. @default none
   */
  readonly program?: { readonly path: string; readonly content: Uint8Array } | undefined
  /** Maximum number of files. @default 131072 */
  readonly inodes?: number
  readonly signal?: AbortSignal | undefined
}

const BUILD_TIMEOUT_MS = 600_000

/**
 * Creates a qcow2 disk that contains one ext4 file system with a journal, with files owned by root.
 * Needs no privileges.
 */
export async function makeExt4Disk(options: Ext4Options): Promise<void> {
  const { path, signal } = options
  const raw = `${path}.raw`
  await makeExt4({ ...options, path: raw })
  await runTool({
    tool: QEMU_IMG,
    args: ['convert', '-f', 'raw', '-O', 'qcow2', raw, path],
    purpose: 'creating the disk',
    timeoutMs: BUILD_TIMEOUT_MS,
    signal,
  })
  await rm(raw)
}

/** Creates the file system in a raw file. Needs no privileges. */
export async function makeExt4(
  options: Ext4Options & {
    /** Offset of the file system in the file. Data before it is preserved. @default 0 */
    readonly offsetBytes?: number
  },
): Promise<void> {
  const { source, path, signal, offsetBytes = 0, uuid } = options
  const common = { timeoutMs: BUILD_TIMEOUT_MS, signal }
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
    // Initializes tables that the guest's kernel would otherwise write in the background after each
    // first mount.
    'lazy_itable_init=0,lazy_journal_init=0,nodiscard,root_owner=0:0',
    ...(offsetBytes === 0 ? [] : [`offset=${offsetBytes}`]),
  ].join(',')
  const size = `${Math.floor(options.virtualBytes / KIB)}k`
  await runTool({
    ...common,
    tool: EXT4_TOOLS.make,
    args: [
      ...['-q', '-F', '-t', 'ext4', '-L', options.label, ...(uuid === undefined ? [] : ['-U', uuid])],
      ...features,
      ...['-E', extended, '-d', source, path, size],
    ],
    purpose: 'creating the file system',
  })
  if (options.program !== undefined) await writeFile(`${path}.program`, options.program.content)
  await writeFile(`${path}.commands`, await buildCommands(options))
  await runTool({
    ...common,
    tool: EXT4_TOOLS.edit,
    args: [
      ...['-w', '-f', `${path}.commands`],
      // libext2fs takes the offset as part of the name.
      offsetBytes === 0 ? path : `${path}?offset=${offsetBytes}`,
    ],
    purpose: 'setting the owners of the files',
  })
  await rm(`${path}.commands`)
  await rm(`${path}.program`, { force: true })
}

/** Returns the debugfs commands, one per line. */
async function buildCommands(options: Ext4Options): Promise<string> {
  const { folders = [], program } = options
  const commands = [...(await buildOwnership(options)), 'set_inode_field <2> mode 040755']
  for (const folder of folders) commands.push(`mkdir ${quote(folder)}`)
  if (program !== undefined) {
    const { path } = program
    // debugfs writes a file to its current folder.
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
    // debugfs would interpret text after a newline as another command.
    if (/\p{Cc}/u.test(entry.name)) throw invalidNameError(file)
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

function invalidNameError(file: string) {
  return vmError('IMAGE_INVALID', {
    summary: 'The root file system has a file whose name contains control characters.',
    expected: 'names without control characters',
    got: JSON.stringify(file),
    hint: 'Rename or remove the file.',
  })
}

/** Quotes a word for debugfs: a quotation mark is doubled. */
function quote(word: string): string {
  return `"${word.replaceAll('"', '""')}"`
}
