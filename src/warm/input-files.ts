import { stat } from 'node:fs/promises'
import { digestFile } from '../cache/file-digest.js'
import { imagesDir } from '../cache/image-store.js'
import { resolveCacheDir } from '../common/cache-dir.js'
import type { BaseImage } from '../spec/base-image.js'
import type { DiskSpec } from '../spec/disk-spec.js'
import type { MachineSpec } from '../spec/machine-spec.js'
import { isCopiedToTemplate, listImageFiles } from '../vm/machine/disk-content.js'
import type { MachineHost } from '../vm/machine/guest-plan.js'

/**
 * Identifies the files of the author that a template depends on, besides its image. Kernels and
 * small disk images are identified by content. Other disk images, and files of packages, are
 * identified by path, size and change time (ctime), which no write can hide.
 */
export async function identifyFiles(
  { image, directBoot, firmware, disks }: MachineSpec,
  host: Pick<MachineHost, 'firmware'>,
): Promise<readonly unknown[]> {
  const { kernel, initrd, dtb } = directBoot?.isCustom === true ? directBoot : {}
  const vars = firmware.type === 'uefi' ? firmware.vars : undefined
  const digests = [kernel, initrd, dtb, vars].map((path) => (path === undefined ? 'none' : digest(path)))
  const installed = [host.firmware?.code.path, host.firmware?.vars.path]
  // The fingerprint of an image describes its content.
  const own = image?.fingerprint === undefined ? image?.disk : undefined
  return Promise.all([
    ...digests,
    own === undefined ? 'none' : identifyImage(own),
    ...installed.map((path) => (path === undefined ? 'none' : identify(path))),
    ...disks.map(identifyDisk),
  ])
}

async function identifyDisk({ content }: DiskSpec): Promise<unknown> {
  if (content.kind !== 'image') return content
  const { format, path } = content.file
  if (await isCopiedToTemplate(content.file)) return [format, await digest(path)]
  return identifyImage(content.file)
}

async function identifyImage(disk: NonNullable<BaseImage['disk']>): Promise<unknown> {
  const files = await listImageFiles(disk)
  return [disk.format, await Promise.all(files.map(identify))]
}

function digest(path: string): Promise<string> {
  return digestFile(path, imagesDir({ cacheDir: resolveCacheDir() }))
}

async function identify(path: string): Promise<string> {
  const { dev, ino, size, mtimeNs, ctimeNs } = await stat(path, { bigint: true })
  return [path, dev, ino, size, mtimeNs, ctimeNs].join(' ')
}
