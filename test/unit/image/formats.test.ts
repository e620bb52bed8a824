import { execFileSync } from 'node:child_process'
import { copyFileSync, mkdirSync, readFileSync, symlinkSync, truncateSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { resolveImage } from '../../../src/image/resolve-image.js'
import { digestOf, makeDisk, makeOva, qemuImg } from '../../support/disk-images.js'
import { failureOf } from '../../support/failure-of.js'
import { ownTmpdir } from '../../support/own-tmpdir.js'

/** The first line of the error and what it expected and got, without the folder of the test. */
async function refusalOf(source: Parameters<typeof resolveImage>[0], dir: string): Promise<string> {
  const error = await failureOf(resolveImage(source, { cacheDir: join(dir, 'cache') }))
  expect(error.code).toBe('IMAGE_INVALID')
  return error.message.replaceAll(`${dir}/`, '')
}

test.each(['vmdk', 'vdi', 'vhdx', 'vpc', 'qcow2'])(
  'a %s image that was cut off is refused',
  async (format) => {
    const dir = ownTmpdir()
    const path = makeDisk(dir, format)
    expect((await resolveImage(path)).disk).toEqual({ path, format })
    truncateSync(path, Math.floor(readFileSync(path).length * 0.6))
    expect(await refusalOf(path, dir)).toMatch(/truncated|cut off/)
  },
)

test('a stream-optimised vmdk that was cut off is refused', async () => {
  const dir = ownTmpdir()
  const path = makeDisk(dir, 'vmdk', ['-o', 'subformat=streamOptimized'])
  expect((await resolveImage(path)).disk?.format).toBe('vmdk')
  truncateSync(path, 600_000)
  expect(await refusalOf(path, dir)).toMatch(/^The image|^Opening the image/)
})

test('a header of garbage is refused with what QEMU says', async () => {
  const dir = ownTmpdir()
  const path = makeDisk(dir, 'vhdx')
  const content = readFileSync(path)
  content.fill(0xff, 64 * 1024, 1024 * 1024)
  writeFileSync(path, content)
  expect(await refusalOf(path, dir)).toContain('Opening the image disk.vhdx as vhdx failed')
})

test('what is said to be raw is taken as raw, whatever a guest has made it look like', async () => {
  const path = makeDisk(ownTmpdir())
  expect((await resolveImage({ path, format: 'raw' })).disk).toEqual({ path, format: 'raw' })
})

test('a disk of an absurd size, or of none, is refused', async () => {
  const dir = ownTmpdir()
  const path = join(dir, 'disk.qcow2')
  qemuImg('create', '-q', '-f', 'qcow2', path, '64T')
  expect((await resolveImage(path)).disk?.format).toBe('qcow2')
  qemuImg('create', '-q', '-f', 'qcow2', path, '65T')
  expect(await refusalOf(path, dir)).toBe(`The image disk.qcow2 says that it is a disk of 65 TiB.
  Expected: no more than 64 TiB, the most that a disk of any cloud has
  Got:      71468255805440 bytes
Fix: Its header is probably damaged: download or make it again.`)
  qemuImg('create', '-q', '-f', 'qcow2', path, '0')
  expect(await refusalOf(path, dir)).toContain('Got:      a disk of no size at all')
})

test('a symbolic link is followed, and named together with where it leads', async () => {
  const dir = ownTmpdir()
  mkdirSync(join(dir, 'real'))
  const base = makeDisk(join(dir, 'real'))
  const overlay = join(dir, 'real', 'overlay.qcow2')
  // Its backing file is named from where the overlay really is.
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

test('a chain of backing files is followed to its end, which may be missing or damaged', async () => {
  const dir = ownTmpdir()
  const base = makeDisk(dir)
  const [middle, top] = [join(dir, 'middle.qcow2'), join(dir, 'top.qcow2')]
  qemuImg('create', '-q', '-f', 'qcow2', '-F', 'qcow2', '-b', base, middle)
  qemuImg('create', '-q', '-f', 'qcow2', '-F', 'qcow2', '-b', middle, top)
  expect((await resolveImage(top)).disk?.path).toBe(top)
  truncateSync(base, 700_000)
  expect((await refusalOf(top, dir)).replace(/at least \d+/, 'at least N')).toMatchInlineSnapshot(`
    "The image disk.qcow2 is truncated.
      Expected: at least N bytes (1.3 MiB), by its cluster tables
      Got:      700000 bytes (683.6 KiB)

    Chain of images:
      | top.qcow2 (qcow2)
      |   needs middle.qcow2 (qcow2)

    Fix: Its download or copy has probably stopped half-way: make it again."
  `)
})

test('a chain that comes back to itself is refused, by its names', async () => {
  const dir = ownTmpdir()
  const one = makeDisk(dir)
  const two = join(dir, 'two.qcow2')
  qemuImg('create', '-q', '-f', 'qcow2', '-F', 'qcow2', '-b', one, two)
  qemuImg('rebase', '-u', '-f', 'qcow2', '-F', 'qcow2', '-b', two, one)
  expect(await refusalOf(one, dir)).toMatchInlineSnapshot(`
    "The image disk.qcow2 is an overlay of itself, by way of others.
      Expected: a chain of backing files that ends
      Got:      disk.qcow2 for the second time

    Chain of images:
      | disk.qcow2 (qcow2)
      |   needs two.qcow2 (qcow2)

    Fix: One of them names the wrong file. Put it right with: qemu-img rebase -u -F FORMAT -b RIGHT IMAGE"
  `)
})

test('a backing file without a stated format is refused', async () => {
  const dir = ownTmpdir()
  const base = makeDisk(dir)
  const path = join(dir, 'overlay.qcow2')
  qemuImg('create', '-q', '-f', 'qcow2', '-F', 'qcow2', '-b', base, path)
  // qemu-img no longer makes such images: the mark of the format in the header is made one that nobody knows.
  const content = readFileSync(path)
  const at = content.indexOf(Buffer.from('e2792aca', 'hex'))
  content.write('6803f857', at, 'hex')
  writeFileSync(path, content)
  expect(await refusalOf(path, dir)).toContain('does not say of what format its backing file is')
})

test('files outside of the folder of the image are read only if that is allowed', async () => {
  const dir = ownTmpdir()
  const [inside, outside] = [join(dir, 'inside'), join(dir, 'outside')]
  mkdirSync(inside)
  mkdirSync(outside)
  const base = makeDisk(outside)
  const overlay = join(inside, 'overlay.qcow2')
  qemuImg('create', '-q', '-f', 'qcow2', '-F', 'qcow2', '-b', base, overlay)
  expect(await refusalOf(overlay, dir)).toMatchInlineSnapshot(`
    "The image inside/overlay.qcow2 reads something that is in another folder, which might not be meant for the guest.
      Expected: files in inside/
      Got:      outside/disk.qcow2

    Chain of images:
      | inside/overlay.qcow2 (qcow2)

    Fix: If it is meant, say where: image: { path, backingFolders: [FOLDER, …] }. An image that stands alone is made with: qemu-img convert -O qcow2 IMAGE NEW"
  `)
  expect((await resolveImage({ path: overlay, backingFolders: [outside] })).disk?.path).toBe(overlay)
  // By way of a link, by another protocol, as a data file, and as the extent of a VMDK.
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

test('the disk of an .ova is taken out of it, once', async () => {
  const dir = ownTmpdir()
  const disk = makeDisk(dir, 'vmdk', ['-o', 'subformat=streamOptimized'])
  const path = makeOva([disk])
  const options = { cacheDir: join(dir, 'cache'), onProgress: () => {} }
  const image = await resolveImage(path, options)
  expect(image).toMatchObject({ name: path, disk: { format: 'vmdk' } })
  expect(digestOf(image.disk?.path as string)).toBe(digestOf(disk))
  expect((await resolveImage(path, options)).disk).toEqual(image.disk)
})

test('an .ova with several disks, with none, cut off or with another digest is refused', async () => {
  const dir = ownTmpdir()
  const disk = makeDisk(dir, 'vmdk')
  copyFileSync(disk, join(dir, 'second.vmdk'))
  expect(await refusalOf(makeOva([disk, join(dir, 'second.vmdk')]), dir)).toBe(
    `The appliance machine.ova has several disks.
  Expected: an appliance with one disk
  Got:      2: disk.vmdk, second.vmdk
Fix: Unpack it with \`tar -xf\`, and give its disks one by one: image: 'disk.vmdk', disks: [{ image: 'second.vmdk' }].`,
  )
  expect(await refusalOf(makeOva([disk], '0'.repeat(64)), dir)).toContain('by its list of digests')
  const whole = makeOva([disk])
  truncateSync(whole, readFileSync(whole).length - 300_000)
  expect(await refusalOf(whole, dir)).toContain('a member that ends behind byte')
  const other = join(dir, 'other.tar')
  execFileSync('tar', ['-cf', other, '-C', dir, 'disk.vmdk'])
  expect(await refusalOf(other, dir)).toBe(`The archive other.tar has no descriptor of an appliance.
  Expected: a file *.ovf at its top, beside the disks
  Got:      only disks: disk.vmdk
Fix: Unpack it with \`tar -xf\`, and give the path of the disk in it; or export the appliance again.`)
})

/** An appliance that is only a descriptor. */
function makeDescriptor(dir: string, text: string): string {
  const path = join(dir, 'hostile.ova')
  writeFileSync(join(dir, 'machine.ovf'), text)
  execFileSync('tar', ['--format=ustar', '-cf', path, '-C', dir, 'machine.ovf'])
  return path
}

test.each([
  ['an attribute that never ends', `<Envelope><Disk ${'a'.repeat(400_000)}>`, 'cannot be read'],
  ['entities that expand', '<!DOCTYPE a [<!ENTITY b "c">]><a>&b;</a>', 'a document type'],
  ['very deep nesting', '<a>'.repeat(60_000), 'at most 10000'],
  ['more than a descriptor may have', ' '.repeat(1024 ** 2 + 1), 'a file machine.ovf of at most 1 MiB'],
])('the descriptor of an .ova with %s is refused', async (_, text, why) => {
  const dir = ownTmpdir()
  expect(await refusalOf(makeDescriptor(dir, text), dir)).toContain(why)
})

test('a descriptor of an .ova with thousands of disks and files takes no time by their product', async () => {
  const dir = ownTmpdir()
  const files = Array.from({ length: 4990 }, (_, index) => `<File id="f${index}" href="x"/>`)
  const timeOf = async (file: string) => {
    const disks = `<Disk fileRef="${file}"/>`.repeat(4990)
    const path = makeDescriptor(dir, `<Envelope>${disks}${files.join('')}</Envelope>`)
    const startedAt = performance.now()
    expect(await refusalOf(path, dir)).toContain('has several disks')
    return performance.now() - startedAt
  }
  // The first file is found at once, and one that is not there after a look at all.
  const soonMs = Math.max(await timeOf('f0'), await timeOf('f0'))
  expect(await timeOf('none')).toBeLessThan(4 * soonMs)
})

test('the descriptor of an .ova may use any prefix, and escaped characters', async () => {
  const dir = ownTmpdir()
  const text = `<o:Envelope xmlns:o="urn:a" xmlns:p="urn:b"><o:References><o:File p:id='f' p:href="a &amp; b.vmdk"/></o:References>
    <o:DiskSection><o:Disk p:fileRef="f"/><o:Disk p:capacity="1"/></o:DiskSection></o:Envelope>`
  expect(await refusalOf(makeDescriptor(dir, text), dir)).toContain(
    'the disk a & b.vmdk, which its descriptor names',
  )
})

test('an archive is not looked into where the format of a disk is said', async () => {
  const dir = ownTmpdir()
  const path = makeOva([makeDisk(dir, 'vmdk')])
  expect(await refusalOf({ path, format: 'vmdk' }, dir)).toContain('Got:      a tar archive')
  expect((await resolveImage({ path, format: 'raw' })).disk).toEqual({ path, format: 'raw' })
})
