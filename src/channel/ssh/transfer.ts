import { basename, dirname, posix, resolve } from 'node:path'
import type { SFTPWrapper } from 'ssh2'
import { raceSignal } from '../../common/deadline.js'
import { VMError, vmError } from '../../errors.js'
import { type CopySide, copyBlocks, openLocal, openRemote } from './copy-blocks.js'
import { downloadFolder } from './download-folder.js'
import { type FileEntry, localSide, remoteSide } from './file-side.js'
import { type DownloadOptions, TransferBudget, type TransferOptions } from './transfer-limits.js'

type Direction = 'upload' | 'download'

interface Item {
  readonly from: string
  readonly to: string
  readonly entry: FileEntry
}

interface Copy {
  readonly direction: Direction
  readonly source: CopySide
  readonly target: CopySide
  readonly budget: TransferBudget
  readonly signal: AbortSignal
}

const PARALLEL_FILES = 4

/**
 * Copies a file or a folder to the guest, including permissions. Overwrites existing files, creates
 * missing parent folders and copies symbolic links within a folder as links.
 *
 * The target is resolved as by `cp -r`. If `remotePath` is an existing folder or ends with `/`, the
 * copy keeps its name in that folder. Otherwise `remotePath` is the path of the copy.
 *
 * @throws {GuestError} TRANSFER_FAILED with both paths and the reason when the copy fails.
 */
export async function uploadPath(
  sftp: SFTPWrapper,
  localPath: string,
  remotePath: string,
  options: TransferOptions = {},
): Promise<void> {
  const sides = {
    source: { ...localSide, open: openLocal },
    target: { ...remoteSide(sftp), open: openRemote(sftp) },
  }
  const signal = options.signal ?? new AbortController().signal
  const budget = new TransferBudget()
  await copyPath({ direction: 'upload', ...sides, budget, signal }, localPath, remotePath)
}

/**
 * Copies a file or a folder from the guest, by the rules of {@link uploadPath}. Never writes
 * outside of the target, regardless of the file names that the guest reports: an existing link is
 * replaced, not followed. Links of the guest are copied unchanged and may lead anywhere on the
 * host, so do not follow them.
 *
 * @throws {GuestError} TRANSFER_FAILED with both paths and the reason when the copy fails or
 *   exceeds a limit.
 */
export async function downloadPath(
  sftp: SFTPWrapper,
  remotePath: string,
  localPath: string,
  options: DownloadOptions = {},
): Promise<void> {
  const sides = {
    source: { ...remoteSide(sftp), open: openRemote(sftp) },
    target: { ...localSide, open: openLocal },
  }
  const signal = options.signal ?? new AbortController().signal
  const budget = new TransferBudget(options)
  await copyPath({ direction: 'download', ...sides, budget, signal }, remotePath, localPath)
}

async function copyPath(given: Copy, from: string, to: string): Promise<void> {
  let current = { from, to }
  const work = async () => {
    const { source, signal } = given
    const entry = await source.stat(from)
    if (entry === undefined) throw Object.assign(new Error('no such file'), { code: 'ENOENT' })
    const root = await findRoot(given, from, to)
    const isExisting = (await given.target.stat(root)) !== undefined
    const target = given.direction === 'download' ? downloadFolder(root) : given.target
    const copy = { ...given, target }
    await target.makeFolder(given.direction === 'upload' ? posix.dirname(root) : dirname(root))

    const items = await listItems(copy, { from, to: root, entry })
    const folders = items.filter((item) => item.entry.kind === 'folder')
    for (const folder of folders) {
      current = folder
      await target.clearLink(folder.to)
      await target.makeFolder(folder.to)
    }
    const copyAll = (wanted: readonly Item[]) =>
      forEachParallel(wanted, async (item) => {
        signal.throwIfAborted()
        await copyItem(copy, item).catch((error) => {
          current = item
          throw error
        })
      })
    // Links are created last, so that nothing is written through one.
    const others = items.filter((item) => item.entry.kind !== 'folder')
    await copyAll(others.filter((item) => item.entry.kind !== 'link'))
    await copyAll(others.filter((item) => item.entry.kind === 'link'))
    // Modes are set last and from the inside out, because a folder may be read-only.
    for (const folder of folders.reverse()) {
      current = folder
      // The guest does not decide who may enter a folder that the host had before.
      if (given.direction === 'download' && isExisting && folder.to === root) continue
      await target.chmod(folder.to, folder.entry.mode & 0o777)
    }
  }
  try {
    await raceSignal(work(), given.signal)
  } catch (error) {
    if (given.signal.aborted || error instanceof VMError) throw error
    // SFTP's status 4 stands for all failures without their own code, such as a full disk.
    const isFull = codeOf(error) === '4' && (await given.target.isFull(dirname(current.to)))
    throw transferFailed(given.direction, current, error, isFull ? 'full' : codeOf(error))
  }
}

/**
 * Returns the path of the copy. The content of `.` or `/` is copied into the target itself.
 * @throws {NodeJS.ErrnoException} EINVAL for `..`, whose name would lead out of the target.
 */
async function findRoot({ direction, target }: Copy, from: string, to: string): Promise<string> {
  const isInto = to.endsWith('/') || (await target.stat(to))?.kind === 'folder'
  const local = direction === 'download' ? resolve(to) : to
  const name = basename(from)
  if (name === '..') throw Object.assign(new Error("the path ends with '..'"), { code: 'EINVAL' })
  return isInto && name !== '' && name !== '.' ? target.join(local, name) : local
}

async function copyItem(copy: Copy, item: Item): Promise<void> {
  if (item.entry.kind === 'link') {
    await copy.target.makeLink(item.to, await copy.source.readLink(item.from))
  } else if (item.entry.kind === 'file') {
    const { mode, sizeBytes } = item.entry
    const from = { open: copy.source.open, path: item.from, sizeBytes }
    await copy.target.clearLink(item.to)
    const count = (bytes: number) => copy.budget.addBytes(bytes)
    await copyBlocks(from, { open: copy.target.open, path: item.to, mode }, copy.signal, count)
  } else {
    throw new Error('a device, a pipe or a socket cannot be copied, only files, folders and links')
  }
}

/** Lists an item and everything below it, folders before their content. */
async function listItems(copy: Copy, item: Item): Promise<Item[]> {
  copy.budget.addItem(item.from, item.entry.kind === 'file' ? item.entry.sizeBytes : 0)
  if (item.entry.kind !== 'folder') return [item]
  const items = [item]
  for await (const entry of copy.source.list(item.from)) {
    copy.signal.throwIfAborted()
    if (!isFileName(entry.name)) throw new Error(`${JSON.stringify(entry.name)} is not a valid file name`)
    const child = {
      from: copy.source.join(item.from, entry.name),
      to: copy.target.join(item.to, entry.name),
      entry,
    }
    for (const below of await listItems(copy, child)) items.push(below)
  }
  return items
}

/**
 * Returns true for a single path component: names reported by the guest must not lead to other
 * folders.
 */
export function isFileName(name: string): boolean {
  return typeof name === 'string' && name !== '' && name !== '.' && name !== '..' && !/[/\0]/.test(name)
}

async function forEachParallel<T>(items: readonly T[], work: (item: T) => Promise<void>): Promise<void> {
  const queue = items.values()
  const run = async () => {
    for (const item of queue) await work(item)
  }
  await Promise.all(Array.from({ length: PARALLEL_FILES }, run))
}

/**
 * Reasons and hints for SFTP status codes (draft-ietf-secsh-filexfer-02, 7) and common codes of the
 * host.
 */
const REASONS: Readonly<Record<string, readonly [reason: string, hint: string]>> = {
  2: ['no such file or folder', 'Check the path in the guest.'],
  4: [
    'the SFTP server reports no reason',
    'Check that path in the guest with `ls -ld`, and the free space with `df`.',
  ],
  full: ['no space left in the guest', 'Free some space, or use a larger disk for the guest.'],
  3: ['permission denied', 'Log in as a user with permission, or choose another path.'],
  ENOENT: ['no such file or folder', 'Check the path: relative paths start at the current folder.'],
  EACCES: ['permission denied', 'Check the permissions on the host.'],
  EPERM: ['permission denied', 'Check the permissions on the host.'],
  EISDIR: [
    'the target is a folder',
    'Specify a file name, or end the path with `/` to copy into the folder.',
  ],
  ENOTDIR: ['a part of the path is not a folder', 'Choose another path.'],
  ENOSPC: ['no space left on the host', 'Free some space.'],
}

function hintOf(error: unknown): string {
  return (error as { hint?: string }).hint ?? 'Check that path in the guest with `ls -ld`.'
}

function codeOf(error: unknown): string {
  return String((error as { readonly code?: string | number }).code)
}

function transferFailed(
  direction: Direction,
  item: { from: string; to: string },
  cause: unknown,
  code: string,
): Error {
  const error = cause as Error
  const [reason, hint] = REASONS[code] ?? [error.message, hintOf(error)]
  const [from, to] = direction === 'upload' ? ['host', 'guest'] : ['guest', 'host']
  return vmError('TRANSFER_FAILED', {
    summary: `The ${direction} failed: ${reason}.`,
    expected: `a copy of ${item.from} (${from}) at ${item.to} (${to})`,
    got: error.message,
    hint,
    cause,
  })
}
