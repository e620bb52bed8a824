import { createHash } from 'node:crypto'
import type { FileHandle } from 'node:fs/promises'
import { SparseFile } from '../common/files/sparse-file.js'
import { formatBytes, MIB } from '../common/units.js'
import { type VMError, vmError } from '../errors.js'
import { readMember, type TarEntry } from './tar-archive.js'

/** Maximum size of a descriptor or a list of digests. */
const MAX_TEXT_BYTES = MIB
/** Names of disk files in appliances. */
const DISK_NAME = /\.(vmdk|vdi|vhdx?|qcow2|img|raw)$/i

/**
 * Extracts the disk of an `.ova`, as exported by VirtualBox and VMware: a tar archive with a
 * descriptor (OVF, DSP0243 of the DMTF), disks, and a list of their digests.
 *
 * @throws {UsageError} IMAGE_INVALID when it has no disk or several, or the disk is missing, split,
 *   or does not match its digest.
 */
export async function extractOvaDisk(options: {
  readonly archive: FileHandle
  readonly name: string
  readonly entries: readonly TarEntry[]
  readonly to: string
  readonly signal?: AbortSignal | undefined
}): Promise<void> {
  const { archive, name, entries, to, signal } = options
  const descriptor = entries.find(isDescriptor)
  if (descriptor === undefined) throw invalidOvaError(name, 'a descriptor (*.ovf)', 'none')
  const href = await findDisk(await readTextEntry(archive, descriptor, name), name)
  const disk = entries.find(({ path }) => path === href)
  if (disk === undefined)
    throw invalidOvaError(name, `the disk ${href} named in its descriptor`, 'no such file in the archive')
  const wanted = await findDigest(archive, { name, entries, file: href })
  const hash = createHash(wanted?.algorithm ?? 'sha256')
  const file = await SparseFile.create(to)
  try {
    for await (const piece of readMember(archive, disk)) {
      signal?.throwIfAborted()
      hash.update(piece)
      await file.append(piece)
    }
    await file.end()
  } catch (error) {
    await file.close().catch(() => {})
    throw error
  }
  const digest = hash.digest('hex')
  if (wanted === undefined || digest === wanted.hex) return
  throw invalidOvaError(
    name,
    `${wanted.algorithm} ${wanted.hex} of ${href}, from its list of digests`,
    `${wanted.algorithm} ${digest}`,
  )
}

/** Returns true if an entry is an OVF descriptor, which only appliances contain. */
export function isDescriptor({ path, type }: TarEntry): boolean {
  return type === 'file' && /^[^/]+\.ovf$/i.test(path)
}

/**
 * Throws if an archive without a descriptor looks like an appliance by its name or content, and not
 * like a root file system.
 *
 * @param isRoot true if it has the folders of a root file system.
 * @throws {UsageError} IMAGE_INVALID
 */
export function requireDescriptor(name: string, entries: readonly TarEntry[], isRoot: boolean): void {
  const disks = entries.filter(({ path, type }) => type === 'file' && DISK_NAME.test(path))
  if (isRoot || (disks.length === 0 && !/\.ova$/i.test(name))) return
  const found = disks.map(({ path }) => path).slice(0, 5)
  throw vmError('IMAGE_INVALID', {
    summary: `The archive ${name} has no appliance descriptor.`,
    expected: 'a file *.ovf at the top level, next to the disks',
    got: found.length === 0 ? 'neither a descriptor nor a disk' : `only disks: ${found.join(', ')}`,
    hint: 'Unpack it with `tar -xf` and specify the path of its disk, or export the appliance again.',
  })
}

async function readTextEntry(
  archive: FileHandle,
  { path, offset, bytes }: TarEntry,
  name: string,
): Promise<string> {
  if (bytes > MAX_TEXT_BYTES) {
    throw invalidOvaError(
      name,
      `a file ${path} of at most ${formatBytes(MAX_TEXT_BYTES)}`,
      formatBytes(bytes),
    )
  }
  const pieces: Buffer[] = []
  for await (const piece of readMember(archive, { offset, bytes })) pieces.push(piece)
  return Buffer.concat(pieces).toString('utf8')
}

/** Returns the file of the only disk with content. Disks without a file are empty. */
async function findDisk(descriptor: string, name: string): Promise<string> {
  const { parseXml, findElements, findAttribute } = await import('../common/xml.js')
  let root: ReturnType<typeof parseXml>
  try {
    root = parseXml(descriptor)
  } catch (error) {
    throw invalidOvaError(name, 'a descriptor in XML (OVF)', `invalid XML: ${(error as Error).message}`)
  }
  const references = findElements(root, 'Disk').map((disk) => findAttribute(disk, 'fileRef'))
  const wanted = references.filter((reference) => reference !== undefined)
  const files = new Map(
    findElements(root, 'File').map((file) => [
      findAttribute(file, 'id'),
      { href: findAttribute(file, 'href'), chunkSize: findAttribute(file, 'chunkSize') },
    ]),
  )
  if (wanted.length === 0) throw invalidOvaError(name, 'a disk', 'none')
  if (wanted.length > 1) {
    throw severalDisksError(
      name,
      wanted.map((id) => files.get(id)?.href ?? id),
    )
  }
  const { href, chunkSize } = files.get(wanted[0]) ?? {}
  if (href === undefined) throw invalidOvaError(name, `the file '${wanted[0]}' of its disk`, 'no such file')
  if (chunkSize === undefined) return href
  throw invalidOvaError(name, 'a disk in one file', `${href} split into several`)
}

/**
 * Returns the digest of a file from the archive's list, whose lines look like `SHA256(disk.vmdk)=
 * 01ab…`.
 */
async function findDigest(
  archive: FileHandle,
  {
    name,
    entries,
    file,
  }: { readonly name: string; readonly entries: readonly TarEntry[]; readonly file: string },
) {
  const list = entries.find(({ path }) => /^[^/]+\.mf$/i.test(path))
  if (list === undefined) return undefined
  for (const line of (await readTextEntry(archive, list, name)).split('\n')) {
    const [, algorithm = '', path, hex = ''] =
      /^(SHA1|SHA256|SHA512)\s*\((.+)\)\s*=\s*([0-9a-f]+)\s*$/i.exec(line) ?? []
    if (path === file) return { algorithm: algorithm.toLowerCase(), hex: hex.toLowerCase() }
  }
  return undefined
}

function invalidOvaError(name: string, expected: string, got: string): VMError {
  return vmError('IMAGE_INVALID', {
    summary: `The appliance ${name} has no usable disk.`,
    expected,
    got,
    hint: 'Export it again as an OVA with all files, or unpack it with `tar -xf` and specify the path of its disk.',
  })
}

function severalDisksError(name: string, disks: readonly string[]): VMError {
  const [first = '', ...others] = disks
  const further = others.map((disk) => `{ image: '${disk}' }`).join(', ')
  return vmError('IMAGE_INVALID', {
    summary: `The appliance ${name} has several disks.`,
    expected: 'an appliance with one disk',
    got: `${disks.length}: ${disks.join(', ')}`,
    hint: `Unpack it with \`tar -xf\` and specify its disks: \`image: '${first}', disks: [${further}]\`.`,
  })
}
