import { access, readFile } from 'node:fs/promises'
import { resolve } from 'node:path'
import { vmError } from '../../errors.js'
import { listDisks, readSystemDisk } from '../../spec/list-disks.js'
import type { VMOptions } from '../../spec/options.js'
import { type ImportedDomain, importDomain } from './domain.js'

/**
 * Reads a domain, from a file or from its text, and sees whether the files that it names are there.
 *
 * @param overrides options beside it: what they replace need not be there.
 * @throws {UsageError} INVALID_OPTIONS when there is no domain, IMAGE_NOT_FOUND when a disk of it is not there.
 */
export async function readDomain(source: string, overrides: VMOptions = {}): Promise<ImportedDomain> {
  const isText = source.trimStart().startsWith('<')
  const domain = importDomain(isText ? source : await readText(source))
  await checkDisks({ ...domain.options, ...overrides }, domain, isText ? 'its text' : source)
  return domain
}

async function readText(path: string): Promise<string> {
  return readFile(path, 'utf8').catch((cause: NodeJS.ErrnoException) => {
    throw vmError('INVALID_OPTIONS', {
      summary: 'The file of the option libvirtXML cannot be read.',
      expected: 'the path of a domain of libvirt, or its text',
      got: `${cause.code === 'ENOENT' ? 'nothing' : cause.code} at ${resolve(path)}`,
      hint: 'write one with: virsh dumpxml NAME > domain.xml',
      cause,
    })
  })
}

/** A disk that a domain names may lie on the host that it comes from. */
async function checkDisks(merged: VMOptions, { options }: ImportedDomain, from: string): Promise<void> {
  const ofDomain = new Set([options.image, ...(options.disks ?? []).map(({ image }) => image)].map(pathOf))
  const wanted = [readSystemDisk(merged).image, ...listDisks(merged).map(({ disk }) => disk.image)].map(
    pathOf,
  )
  for (const path of wanted) {
    if (path === undefined || !ofDomain.has(path)) continue
    await access(path).catch((cause) => {
      throw vmError('IMAGE_NOT_FOUND', {
        summary: `A disk of the domain is not there: ${path}.`,
        expected: `the file that the domain (${from}) names`,
        got: `nothing that can be read at ${path}`,
        hint: 'put it there, or say `image` or `disks` beside `libvirtXML`: they count in place of what it says.',
        cause,
      })
    })
  }
}

function pathOf(image: unknown): string | undefined {
  if (typeof image === 'string') return image
  return typeof image === 'object' && image !== null && 'path' in image ? String(image.path) : undefined
}
