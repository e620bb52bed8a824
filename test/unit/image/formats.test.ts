import { execFileSync } from 'node:child_process'
import { copyFileSync, mkdirSync, readFileSync, symlinkSync, truncateSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { resolveImage } from '../../../src/image/resolve-image.js'
import { digestOf, makeDisk, makeOva, qemuImg } from '../../support/disk-images.js'
import { failureOf } from '../../support/failure-of.js'
import { ownTmpdir } from '../../support/own-tmpdir.js'

/** Returns the error of an image without the folder of the test. */
async function refusalOf(source: Parameters<typeof resolveImage>[0], dir: string): Promise<string> {
  const error = await failureOf(resolveImage(source, { cacheDir: join(dir, 'cache') }))
  expect(error.code).toBe('IMAGE_INVALID')
  return error.message.replaceAll(`${dir}/`, '')
}

test.each(['vmdk', 'vdi', 'vhdx', 'vpc', 'qcow2'])('a truncated %s image is rejected', async (format) => {
  const dir = ownTmpdir()
  const path = makeDisk(dir, format)
  expect((await resolveImage(path)).disk).toEqual({ path, format })
  truncateSync(path, Math.floor(readFileSync(path).length * 0.6))
  expect(await refusalOf(path, dir)).toMatch(/truncated|cut off/)
})

test('a truncated stream-optimized vmdk is rejected', async () => {
  const dir = ownTmpdir()
  const path = makeDisk(dir, 'vmdk', ['-o', 'subformat=streamOptimized'])
  expect((await resolveImage(path)).disk?.format).toBe('vmdk')
  truncateSync(path, 600_000)
  expect(await refusalOf(path, dir)).toMatch(/^The image|^Opening the image/)
})

test('a corrupt header is rejected with the error of QEMU', async () => {
  const dir = ownTmpdir()
  const path = makeDisk(dir, 'vhdx')
  const content = readFileSync(path)
  content.fill(0xff, 64 * 1024, 1024 * 1024)
  writeFileSync(path, content)
  expect(await refusalOf(path, dir)).toContain('Opening the image disk.vhdx as vhdx failed')
})

test('a disk declared as raw is used as raw, whatever its content looks like', async () => {
  const path = makeDisk(ownTmpdir())
  expect((await resolveImage({ path, format: 'raw' })).disk).toEqual({ path, format: 'raw' })
})

test('a disk of an absurd size, or an empty one, is rejected', async () => {
  const dir = ownTmpdir()
  const path = join(dir, 'disk.qcow2')
  qemuImg('create', '-q', '-f', 'qcow2', path, '64T')
  expect((await resolveImage(path)).disk?.format).toBe('qcow2')
  qemuImg('create', '-q', '-f', 'qcow2', path, '65T')
  expect(await refusalOf(path, dir)).toBe(`The image disk.qcow2 has an impossible size of 65 TiB.
  Expected: at most 64 TiB, the size of the largest cloud disks
  Got:      71468255805440 bytes
Fix: Download or create it again: its header is probably damaged.`)
  qemuImg('create', '-q', '-f', 'qcow2', path, '0')
  expect(await refusalOf(path, dir)).toContain('Got:      a disk of size 0')
})

test('a symbolic link to an image is followed, and messages show both paths', async () => {
  const dir = ownTmpdir()
  mkdirSync(join(dir, 'real'))
  const base = makeDisk(join(dir, 'real'))
  const overlay = join(dir, 'real', 'overlay.qcow2')
  // The backing file is relative to the folder of the overlay, not of the link.
  qemuImg('create', '-q', '-f', 'qcow2', '-F', 'qcow2', '-b', 'disk.qcow2', overlay)
  const link = join(dir, 'link')
  symlinkSync('real/overlay.qcow2', link)
  expect((await resolveImage(link)).disk).toEqual({ path: overlay, format: 'qcow2' })
  truncateSync(base, 100)
  truncateSync(overlay, 100)
  expect(await refusalOf(link, dir)).toContain('The image link (a link to real/overlay.qcow2) is truncated.')
  const dangling = join(dir, 'dangling')
  symlinkSync('nowhere', dangling)
  expect((await failureOf(resolveImage(dangling))).code).toBe('IMAGE_NOT_FOUND')
})

test('a chain of backing files is verified to its end, and a missing or damaged file is reported', async () => {
  const dir = ownTmpdir()
  const base = makeDisk(dir)
  const [middle, top] = [join(dir, 'middle.qcow2'), join(dir, 'top.qcow2')]
  qemuImg('create', '-q', '-f', 'qcow2', '-F', 'qcow2', '-b', base, middle)
  qemuImg('create', '-q', '-f', 'qcow2', '-F', 'qcow2', '-b', middle, top)
  expect((await resolveImage(top)).disk?.path).toBe(top)
  truncateSync(base, 700_000)
  expect((await refusalOf(top, dir)).replace(/at least \d+/, 'at least N')).toMatchInlineSnapshot(`
    "The image disk.qcow2 is truncated.
      Expected: at least N bytes (1.3 MiB), according to its cluster tables
      Got:      700000 bytes (683.6 KiB)

    Chain of images:
      | top.qcow2 (qcow2)
      |   needs middle.qcow2 (qcow2)

    Fix: Download or copy it again: the last attempt was probably interrupted."
  `)
})

test('a circular chain of backing files is rejected and shown', async () => {
  const dir = ownTmpdir()
  const one = makeDisk(dir)
  const two = join(dir, 'two.qcow2')
  qemuImg('create', '-q', '-f', 'qcow2', '-F', 'qcow2', '-b', one, two)
  qemuImg('rebase', '-u', '-f', 'qcow2', '-F', 'qcow2', '-b', two, one)
  expect(await refusalOf(one, dir)).toMatchInlineSnapshot(`
    "The image disk.qcow2 is part of its own backing chain.
      Expected: a backing chain without a loop
      Got:      disk.qcow2 for the second time

    Chain of images:
      | disk.qcow2 (qcow2)
      |   needs two.qcow2 (qcow2)

    Fix: Set the correct backing file of one of these images: \`qemu-img rebase -u -F FORMAT -b BACKING IMAGE\`."
  `)
})

test('a backing file without a declared format is rejected', async () => {
  const dir = ownTmpdir()
  const base = makeDisk(dir)
  const path = join(dir, 'overlay.qcow2')
  qemuImg('create', '-q', '-f', 'qcow2', '-F', 'qcow2', '-b', base, path)
  // qemu-img no longer makes such images, so the id of the header extension with the format is replaced with an unknown one.
  const content = readFileSync(path)
  const at = content.indexOf(Buffer.from('e2792aca', 'hex'))
  content.write('6803f857', at, 'hex')
  writeFileSync(path, content)
  expect(await refusalOf(path, dir)).toContain('does not specify the format of its backing file')
})

test('backing files outside of the folder of the image are read only if that is allowed', async () => {
  const dir = ownTmpdir()
  const [inside, outside] = [join(dir, 'inside'), join(dir, 'outside')]
  mkdirSync(inside)
  mkdirSync(outside)
  const base = makeDisk(outside)
  const overlay = join(inside, 'overlay.qcow2')
  qemuImg('create', '-q', '-f', 'qcow2', '-F', 'qcow2', '-b', base, overlay)
  expect(await refusalOf(overlay, dir)).toMatchInlineSnapshot(`
    "The image inside/overlay.qcow2 refers to a file outside of the allowed folders.
      Expected: files in inside/
      Got:      outside/disk.qcow2

    Chain of images:
      | inside/overlay.qcow2 (qcow2)

    Fix: Allow the folder with \`image: { path, backingFolders: [FOLDER, …] }\`, or flatten the image: \`qemu-img convert -O qcow2 IMAGE NEW\`."
  `)
  expect((await resolveImage({ path: overlay, backingFolders: [outside] })).disk?.path).toBe(overlay)
  // Through a link, over another protocol, as a data file, and as an extent of a VMDK.
  symlinkSync(base, join(inside, 'link.qcow2'))
  qemuImg('rebase', '-u', '-F', 'qcow2', '-b', 'link.qcow2', overlay)
  expect(await refusalOf(overlay, dir)).toContain('inside/link.qcow2 (a link to outside/disk.qcow2)')
  qemuImg('rebase', '-u', '-F', 'raw', '-b', 'nbd://127.0.0.1:1/x', overlay)
  expect(await refusalOf(overlay, dir)).toContain('nbd://127.0.0.1:1/x')
  const withData = join(inside, 'data.qcow2')
  qemuImg('create', '-q', '-f', 'qcow2', '-o', `data_file=${join(outside, 'data.raw')}`, withData, '4M')
  expect(await refusalOf(withData, dir)).toContain('Got:      outside/data.raw')
  const flat = makeDisk(inside, 'vmdk', ['-o', 'subformat=monolithicFlat'])
  expect((await resolveImage(flat)).disk?.format).toBe('vmdk')
  writeFileSync(flat, readFileSync(flat, 'utf8').replace('"disk-flat.vmdk"', '"../outside/disk-flat.vmdk"'))
  copyFileSync(join(inside, 'disk-flat.vmdk'), join(outside, 'disk-flat.vmdk'))
  expect(await refusalOf(flat, dir)).toContain('Got:      outside/disk-flat.vmdk')
})

test('the disk of an .ova is extracted once', async () => {
  const dir = ownTmpdir()
  const disk = makeDisk(dir, 'vmdk', ['-o', 'subformat=streamOptimized'])
  const path = makeOva([disk])
  const options = { cacheDir: join(dir, 'cache'), onProgress: () => {} }
  const image = await resolveImage(path, options)
  expect(image).toMatchObject({ name: path, disk: { format: 'vmdk' } })
  expect(digestOf(image.disk?.path as string)).toBe(digestOf(disk))
  expect((await resolveImage(path, options)).disk).toEqual(image.disk)
})

test('an .ova with several disks or none, truncated or with a wrong digest is rejected', async () => {
  const dir = ownTmpdir()
  const disk = makeDisk(dir, 'vmdk')
  copyFileSync(disk, join(dir, 'second.vmdk'))
  expect(await refusalOf(makeOva([disk, join(dir, 'second.vmdk')]), dir)).toBe(
    `The appliance machine.ova has several disks.
  Expected: an appliance with one disk
  Got:      2: disk.vmdk, second.vmdk
Fix: Unpack it with \`tar -xf\` and specify its disks: \`image: 'disk.vmdk', disks: [{ image: 'second.vmdk' }]\`.`,
  )
  expect(await refusalOf(makeOva([disk], '0'.repeat(64)), dir)).toContain('from its list of digests')
  const whole = makeOva([disk])
  truncateSync(whole, readFileSync(whole).length - 300_000)
  expect(await refusalOf(whole, dir)).toContain('a member that ends after byte')
  const other = join(dir, 'other.tar')
  execFileSync('tar', ['-cf', other, '-C', dir, 'disk.vmdk'])
  expect(await refusalOf(other, dir)).toBe(`The archive other.tar has no appliance descriptor.
  Expected: a file *.ovf at the top level, next to the disks
  Got:      only disks: disk.vmdk
Fix: Unpack it with \`tar -xf\` and specify the path of its disk, or export the appliance again.`)
})

/** Makes an appliance that contains only a descriptor. */
function makeDescriptor(dir: string, text: string): string {
  const path = join(dir, 'hostile.ova')
  writeFileSync(join(dir, 'machine.ovf'), text)
  execFileSync('tar', ['--format=ustar', '-cf', path, '-C', dir, 'machine.ovf'])
  return path
}

test.each([
  ['an attribute that never ends', `<Envelope><Disk ${'a'.repeat(400_000)}>`, 'invalid XML'],
  ['entities that expand', '<!DOCTYPE a [<!ENTITY b "c">]><a>&b;</a>', 'document types'],
  ['very deep nesting', '<a>'.repeat(60_000), 'at most 10000'],
  ['more than a descriptor may have', ' '.repeat(1024 ** 2 + 1), 'a file machine.ovf of at most 1 MiB'],
])('the descriptor of an .ova with %s is rejected', async (_, text, why) => {
  const dir = ownTmpdir()
  expect(await refusalOf(makeDescriptor(dir, text), dir)).toContain(why)
})

test('the time for an .ova descriptor with thousands of disks and files does not grow with their product', async () => {
  const dir = ownTmpdir()
  const files = Array.from({ length: 4990 }, (_, index) => `<File id="f${index}" href="x"/>`)
  const timeOf = async (file: string) => {
    const disks = `<Disk fileRef="${file}"/>`.repeat(4990)
    const path = makeDescriptor(dir, `<Envelope>${disks}${files.join('')}</Envelope>`)
    const startedAt = performance.now()
    expect(await refusalOf(path, dir)).toContain('has several disks')
    return performance.now() - startedAt
  }
  // The first file is found at once; a missing one requires a search of all files.
  const soonMs = Math.max(await timeOf('f0'), await timeOf('f0'))
  expect(await timeOf('none')).toBeLessThan(4 * soonMs)
})

test('the descriptor of an .ova may use any namespace prefix and escaped characters', async () => {
  const dir = ownTmpdir()
  const text = `<o:Envelope xmlns:o="urn:a" xmlns:p="urn:b"><o:References><o:File p:id='f' p:href="a &amp; b.vmdk"/></o:References>
    <o:DiskSection><o:Disk p:fileRef="f"/><o:Disk p:capacity="1"/></o:DiskSection></o:Envelope>`
  expect(await refusalOf(makeDescriptor(dir, text), dir)).toContain(
    'the disk a & b.vmdk named in its descriptor',
  )
})

test('an archive is not unpacked if `format` is set', async () => {
  const dir = ownTmpdir()
  const path = makeOva([makeDisk(dir, 'vmdk')])
  expect(await refusalOf({ path, format: 'vmdk' }, dir)).toContain('Got:      a tar archive')
  expect((await resolveImage({ path, format: 'raw' })).disk).toEqual({ path, format: 'raw' })
})
