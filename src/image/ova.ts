import { createHash } from 'node:crypto'
import type { FileHandle } from 'node:fs/promises'
import { type VMError, vmError } from '../errors.js'
import { SparseFile } from './sparse-file.js'
import { readMember, type TarEntry } from './tar-archive.js'

/** What a descriptor or a list of digests may take. */
const MOST_TEXT_BYTES = 4 * 1024 ** 2

/**
 * Takes the disk out of an `.ova`: a tar archive with a descriptor (OVF, DSP0243 of the DMTF), disks, and a list of their
 * digests, as VirtualBox and VMware export it.
 *
 * @throws {UsageError} IMAGE_INVALID when it has no disk or several, the disk is missing or split, or has another digest than the
 *   archive says.
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
  if (descriptor === undefined) throw invalid(name, 'a descriptor, a file *.ovf', 'none')
  const href = findDisk(await readText(archive, descriptor), name)
  const disk = entries.find(({ path }) => path === href)
  if (disk === undefined)
    throw invalid(name, `the disk ${href}, which its descriptor names`, 'no such file in it')
  const wanted = await findDigest(archive, entries, href)
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
  throw invalid(
    name,
    `${wanted.algorithm} ${wanted.hex} of ${href}, by its list of digests`,
    `${wanted.algorithm} ${digest}`,
  )
}

/** What only the archive of a virtual machine has, as its first member. */
export function isDescriptor({ path, type }: TarEntry): boolean {
  return type === 'file' && /^[^/]+\.ovf$/i.test(path)
}

async function readText(archive: FileHandle, { offset, bytes }: TarEntry): Promise<string> {
  const pieces: Buffer[] = []
  for await (const piece of readMember(archive, { offset, bytes: Math.min(bytes, MOST_TEXT_BYTES) })) {
    pieces.push(piece)
  }
  return Buffer.concat(pieces).toString('utf8')
}

/** The file of the one disk that has content: disks without a file are empty ones. */
function findDisk(descriptor: string, name: string): string {
  const references = elements(descriptor, 'Disk').map((attributes) => attributes.get('fileRef'))
  const wanted = references.filter((reference) => reference !== undefined)
  if (wanted.length !== 1) {
    throw invalid(name, 'one disk', wanted.length === 0 ? 'none' : `${wanted.length}: guests here have one`)
  }
  const file = elements(descriptor, 'File').find((attributes) => attributes.get('id') === wanted[0])
  const href = file?.get('href')
  if (href === undefined) throw invalid(name, `the file '${wanted[0]}', which its disk is in`, 'no such file')
  if (file?.get('chunkSize') === undefined) return href
  throw invalid(name, 'a disk in one piece', `${href} in several`)
}

/** The attributes of all elements of a name, whatever the prefixes are. */
function elements(xml: string, name: string): Map<string, string>[] {
  return [...xml.matchAll(new RegExp(`<(?:\\w+:)?${name}\\s([^>]*)>`, 'g'))].map(
    ([, attributes = '']) =>
      new Map(
        [...attributes.matchAll(/(?:\w+:)?(\w+)\s*=\s*(?:"([^"]*)"|'([^']*)')/g)].map(
          ([, key = '', double, single]) => [key, unescapeXml(double ?? single ?? '')],
        ),
      ),
  )
}

function unescapeXml(text: string): string {
  const entities = { lt: '<', gt: '>', quot: '"', apos: "'", amp: '&' }
  return text.replace(/&(lt|gt|quot|apos|amp);/g, (_, name: keyof typeof entities) => entities[name])
}

/** What the archive itself says of a file: lines such as `SHA256(disk.vmdk)= 01ab…`. */
async function findDigest(archive: FileHandle, entries: readonly TarEntry[], file: string) {
  const list = entries.find(({ path }) => /^[^/]+\.mf$/i.test(path))
  if (list === undefined) return undefined
  for (const line of (await readText(archive, list)).split('\n')) {
    const [, algorithm = '', path, hex = ''] =
      /^(SHA1|SHA256|SHA512)\s*\((.+)\)\s*=\s*([0-9a-f]+)\s*$/i.exec(line) ?? []
    if (path === file) return { algorithm: algorithm.toLowerCase(), hex: hex.toLowerCase() }
  }
  return undefined
}

function invalid(name: string, expected: string, got: string): VMError {
  return vmError('IMAGE_INVALID', {
    summary: `The appliance ${name} has no disk that can be used.`,
    expected,
    got,
    hint: 'Export it again, as an OVA with all files in it. A disk of it can be given by itself too: unpack it with `tar -xf`, and give the path of the disk.',
  })
}
