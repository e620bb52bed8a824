import { z } from 'zod'
import { format, image, imageSource } from './image.js'
import { count, flag, memorySize, oneOf, textLike } from './rules.js'

const connection = {
  interface: oneOf('virtio', 'scsi', 'ide', 'sata', 'usb', 'nvme', 'sd', 'floppy', 'pflash'),
  index: count(0, 255),
  serial: textLike('a serial number of up to 36 printable characters', /^[\x21-\x7e]{1,36}$/),
  bootIndex: count(1, 1000),
  cache: oneOf('none', 'writeback', 'writethrough', 'directsync', 'unsafe'),
  discard: oneOf('unmap', 'ignore'),
}

const disk = z.strictObject({
  ...connection,
  image: imageSource.optional(),
  size: memorySize(),
  format,
  media: oneOf('disk', 'cdrom'),
  readonly: flag(),
  snapshot: flag(),
})

/** Schema of the options for disks. */
export const diskRules = {
  image: image.optional(),
  systemDisk: z.strictObject(connection).optional(),
  disks: z.array(disk, { error: "a list such as [{ size: '1G' }]" }).optional(),
  hda: imageSource.optional(),
  hdb: imageSource.optional(),
  hdc: imageSource.optional(),
  hdd: imageSource.optional(),
  cdrom: imageSource.optional(),
  fda: imageSource.optional(),
  fdb: imageSource.optional(),
}
