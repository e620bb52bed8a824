import { access, readFile } from 'node:fs/promises'
import { resolve } from 'node:path'
import { vmError } from '../../errors.js'
import { listDisks, readSystemDisk } from '../../spec/list-disks.js'
import type { VMOptions } from '../../spec/options.js'
import { type ImportedDomain, importDomain } from './domain.js'

/**
 * Reads a domain from a file or from text, and checks that its disks exist.
 *
 * @param overrides explicit options. Disks that they replace need not exist.
 * @throws {UsageError} INVALID_OPTIONS when the source is not a domain; IMAGE_NOT_FOUND when a disk
 *   does not exist.
 */
export async function readDomain(source: string, overrides: VMOptions = {}): Promise<ImportedDomain> {
  const isText = source.trimStart().startsWith('<')
  const domain = importDomain(isText ? source : await readDomainFile(source))
  await checkDisks({ ...domain.options, ...overrides }, domain, isText ? 'inline text' : source)
  return domain
}

async function readDomainFile(path: string): Promise<string> {
  return readFile(path, 'utf8').catch((cause: NodeJS.ErrnoException) => {
    throw vmError('INVALID_OPTIONS', {
      summary: 'The file of the option `libvirtXML` is not readable.',
      expected: 'the path or content of a domain XML file',
      got: `${cause.code === 'ENOENT' ? 'no file' : cause.code} at ${resolve(path)}`,
      hint: 'Export a domain: `virsh dumpxml NAME > domain.xml`.',
      cause,
    })
  })
}

/** Checks that the disks of the domain exist: they may be on another host. */
async function checkDisks(merged: VMOptions, { options }: ImportedDomain, from: string): Promise<void> {
  const ofDomain = new Set([options.image, ...(options.disks ?? []).map(({ image }) => image)].map(pathOf))
  const wanted = [readSystemDisk(merged).image, ...listDisks(merged).map(({ disk }) => disk.image)].map(
    pathOf,
  )
  for (const path of wanted) {
    if (path === undefined || !ofDomain.has(path)) continue
    await access(path).catch((cause) => {
      throw vmError('IMAGE_NOT_FOUND', {
        summary: `The disk ${path} of the libvirt domain does not exist.`,
        expected: `a readable file, as specified in the domain (${from})`,
        got: `no readable file at ${path}`,
        hint: 'Copy the disk to that path, or override it with the option `image` or `disks`.',
        cause,
      })
    })
  }
}

function pathOf(image: unknown): string | undefined {
  if (typeof image === 'string') return image
  return typeof image === 'object' && image !== null && 'path' in image ? String(image.path) : undefined
}
