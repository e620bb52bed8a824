import { basename, dirname, posix } from 'node:path'
import type { SFTPWrapper } from 'ssh2'
import { raceSignal } from '../../common/deadline.js'
import { VMError, vmError } from '../../errors.js'
import { type CopySide, copyBlocks, openLocal, openRemote } from './copy-blocks.js'
import { downloadFolder } from './download-folder.js'
import { type FileEntry, localSide, remoteSide } from './file-side.js'
import { type DownloadLimits, TransferBudget } from './transfer-limits.js'

export interface TransferOptions {
  readonly signal?: AbortSignal | undefined
}

export interface DownloadOptions extends TransferOptions, DownloadLimits {}

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
 * Copies a file or a folder into the guest, with the permissions. Existing files are overwritten, missing
 * parents are made, symbolic links inside a folder stay links.
 *
 * Where it goes is as with `cp -r`: into `remotePath`, under its own name, if that is an existing folder or ends
 * with `/`; else `remotePath` is the new name.
 *
 * @throws {GuestError} TRANSFER_FAILED with both paths and the reason.
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
 * Copies a file or a folder out of the guest: as {@link uploadPath}, the other way. Nothing is written outside of the
 * target, whatever names the guest gives: a link that stands where something is to be written is replaced, not
 * followed. Links of the guest's are copied as they are, so take care in following them here.
 *
 * @throws {GuestError} TRANSFER_FAILED with both paths and the reason, also when it is more than the limits allow.
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
    const isInto = to.endsWith('/') || (await given.target.stat(to))?.kind === 'folder'
    const root = isInto ? given.target.join(to, basename(from)) : to
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
    // Links come when all the rest is there, so that nothing can be written through one.
    const others = items.filter((item) => item.entry.kind !== 'folder')
    await copyAll(others.filter((item) => item.entry.kind !== 'link'))
    await copyAll(others.filter((item) => item.entry.kind === 'link'))
    // Last and from the inside out, since a folder may be read-only.
    for (const folder of folders.reverse()) {
      current = folder
      await target.chmod(folder.to, folder.entry.mode & 0o777)
    }
  }
  try {
    await raceSignal(work(), given.signal)
  } catch (error) {
    if (given.signal.aborted || error instanceof VMError) throw error
    // SFTP's status 4 is any failure that has no number of its own, as that of a full disk.
    const isFull = codeOf(error) === '4' && (await given.target.isFull(dirname(current.to)))
    throw transferFailed(given.direction, current, error, isFull ? 'full' : codeOf(error))
  }
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
    throw new Error('it is a device, a pipe or a socket: only files, folders and links can be copied')
  }
}

/** The item and all below it, folders before what is in them. */
async function listItems(copy: Copy, item: Item): Promise<Item[]> {
  copy.budget.addItem(item.from, item.entry.kind === 'file' ? item.entry.sizeBytes : 0)
  if (item.entry.kind !== 'folder') return [item]
  const items = [item]
  for await (const entry of copy.source.list(item.from)) {
    copy.signal.throwIfAborted()
    if (!isFileName(entry.name)) throw new Error(`${JSON.stringify(entry.name)} is not the name of a file`)
    const child = {
      from: copy.source.join(item.from, entry.name),
      to: copy.target.join(item.to, entry.name),
      entry,
    }
    for (const below of await listItems(copy, child)) items.push(below)
  }
  return items
}

/** Whether a name is part of no path: what a guest calls its files must not lead anywhere else. */
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

/** SFTP's status codes (draft-ietf-secsh-filexfer-02, 7) and what else is common, in words. */
const REASONS: Readonly<Record<string, readonly [reason: string, hint: string]>> = {
  2: ['no such file or folder', 'Check the path in the guest.'],
  4: [
    'the SFTP server gives no reason',
    'See what is at that path in the guest (`ls -ld`), and its space (`df`).',
  ],
  full: ['no space left in the guest', 'Free some space, or give the guest a larger disk.'],
  3: ['permission denied', 'Log in as a user who may, or choose another path.'],
  ENOENT: ['no such file or folder', 'Check the path: relative ones start at the current directory.'],
  EACCES: ['permission denied', 'Check the permissions on this host.'],
  EPERM: ['permission denied', 'Check the permissions on this host.'],
  EISDIR: ['the target is a folder', 'Name a file, or end the path with `/` to copy into the folder.'],
  ENOTDIR: ['a part of the path is not a folder', 'Choose another path.'],
  ENOSPC: ['no space left on this host', 'Free some space.'],
}

function hintOf(error: unknown): string {
  return (error as { hint?: string }).hint ?? 'See what is at that path in the guest (`ls -ld`).'
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
  const [from, to] = direction === 'upload' ? ['here', 'in the guest'] : ['in the guest', 'here']
  return vmError('TRANSFER_FAILED', {
    summary: `the ${direction} failed: ${reason}`,
    expected: `a copy of ${item.from} (${from}) at ${item.to} (${to})`,
    got: error.message,
    hint,
    cause,
  })
}
