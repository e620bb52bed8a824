import { execFileSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { appendFileSync, mkdirSync, readFileSync, symlinkSync, truncateSync, writeFileSync } from 'node:fs'
import { open } from 'node:fs/promises'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { makeExt4Disk } from '../../../src/archive/ext4.js'
import { findOciManifest, readOciImage } from '../../../src/archive/oci-layout.js'
import { RootTree } from '../../../src/archive/root-tree.js'
import { readTar, type TarEntry } from '../../../src/archive/tar-archive.js'
import { iterateInBatches } from '../../../src/common/iterate-in-batches.js'
import { openDisk } from '../../../src/disk/backing-chain.js'
import { addBootOption } from '../../../src/disk/efi-variables.js'
import { checkQcow2Tables, parseQcow2Header } from '../../../src/disk/qcow2.js'
import { readVmdkExtents } from '../../../src/disk/vmdk.js'
import { resolveImage } from '../../../src/image/resolve-image.js'
import { readFolder } from '../../../src/image/root-image.js'
import { makeDisk, qemuImg } from '../../support/disk-images.js'
import { failureOf } from '../../support/failure-of.js'
import { ownTmpdir } from '../../support/own-tmpdir.js'

/** Makes a FIFO without a writer: opening it for reading blocks forever. */
function makeFifo(dir: string, name = 'fifo'): string {
  const path = join(dir, name)
  execFileSync('mkfifo', [path])
  return path
}

/** Makes a tar archive with one symbolic link that has pax attributes. */
function makePaxArchive(fields: Readonly<Record<string, string>> | string): Buffer {
  const records = Object.entries(fields).map(([key, value]) => {
    const length = key.length + value.length + 3
    return `${length + String(length + 6).length} ${key}=${value}\n`
  })
  const text = Buffer.from(typeof fields === 'string' ? fields : records.join(''))
  const block = (flag: string, bytes: number) => {
    const header = Buffer.alloc(512)
    header.write('name')
    header.write(bytes.toString(8).padStart(11, '0'), 124)
    header.write(flag, 156)
    header.write('ustar\x0000', 257, 'latin1')
    header.fill(' ', 148, 156)
    const sum = header.reduce((total, byte) => total + byte, 0)
    header.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148, 'latin1')
    return header
  }
  const padding = Buffer.alloc((512 - (text.length % 512)) % 512)
  return Buffer.concat([block('x', text.length), text, padding, block('2', 0), Buffer.alloc(1024)])
}

const descriptor = (extent: string) =>
  `# Disk DescriptorFile\nversion=1\nCID=12345678\nparentCID=ffffffff\ncreateType="monolithicFlat"\nRW 2048 FLAT "${extent}" 0\n`

test('a backing or extent file in another folder, or that is not a regular file, is never opened', async () => {
  const dir = ownTmpdir()
  const path = join(dir, 'disk.vmdk')
  const fifo = makeFifo(dir)
  writeFileSync(path, descriptor('/etc/passwd'))
  expect((await failureOf(openDisk({ path }))).message).toContain('Got:      /etc/passwd')
  writeFileSync(path, descriptor('fifo'))
  expect((await failureOf(openDisk({ path }))).message).toContain(
    'refers to a path that is not a regular file',
  )
  // QEMU treats these as names in the folder of the image.
  for (const name of ['nbd://host/export', 'file:/etc/passwd']) {
    writeFileSync(path, descriptor(name))
    expect((await failureOf(openDisk({ path }))).message).toContain(`a part of it ${join(dir, '/')}${name}`)
  }
  // A sparse extent without a capacity has its extents in the descriptor too.
  const sparse = Buffer.alloc(4096)
  sparse.write('KDMV')
  sparse.writeUInt32LE(1, 4)
  sparse.writeBigUInt64LE(1n, 0x1c)
  sparse.write(descriptor(fifo).replace('# Disk', '#Disk'), 512)
  writeFileSync(path, sparse)
  expect((await failureOf(openDisk({ path }))).message).toContain(
    'refers to a path that is not a regular file',
  )
})

test.each(['\n', '\r\n', '\v', '\f', '\t '])(
  'an extent of a vmdk image is found with %j between its fields',
  async (space) => {
    const text = descriptor('/etc/passwd').replaceAll(' 2048 ', `${space}2048${space}`)
    const path = join(ownTmpdir(), 'disk.vmdk')
    writeFileSync(path, text)
    const file = await open(path)
    expect(await readVmdkExtents(file, Buffer.from(text), text.length)).toEqual(['/etc/passwd'])
    await file.close()
  },
)

test('a vmdk image may use extent files next to it', async () => {
  const dir = ownTmpdir()
  const path = makeDisk(dir, 'vmdk', ['-o', 'subformat=monolithicFlat'])
  expect(await openDisk({ path })).toMatchObject({ format: 'vmdk' })
  expect((await openDisk({ path: makeDisk(dir, 'vmdk') })).format).toBe('vmdk')
})

test('an external data file of a qcow2 image is checked before qemu-img opens it', async () => {
  const dir = ownTmpdir()
  const path = join(dir, 'disk.qcow2')
  qemuImg('create', '-q', '-f', 'qcow2', '-o', `data_file=${join(dir, 'data.raw')}`, path, '1M')
  execFileSync('rm', [join(dir, 'data.raw')])
  makeFifo(dir, 'data.raw')
  expect((await failureOf(openDisk({ path }))).message).toContain(
    'refers to a path that is not a regular file',
  )
})

/** Replaces the header extensions of a qcow2 file. Returns their end. */
function setExtensions(
  content: Buffer,
  start: number,
  extensions: ReadonlyArray<readonly [type: string, data: Buffer]>,
): number {
  let at = start
  for (const [type, data] of extensions) {
    content.write(type, at, 'latin1')
    content.writeUInt32BE(data.length, at + 4)
    data.copy(content, at + 8)
    at += 8 + Math.ceil(data.length / 8) * 8
  }
  return at
}

/** Extensions of which QEMU uses the data file `secret`, and a parser that is less exact uses `decoy`. */
test.each<[string, (content: Buffer, secret: Buffer, decoy: Buffer) => unknown]>([
  [
    'starts at an odd offset',
    (content, secret, decoy) => {
      content.writeUInt32BE(105, 100)
      // The last byte of its length is a D at an offset that is a multiple of 8.
      const hidden = Buffer.alloc(0x144)
      hidden.write('ATA')
      hidden.writeUInt32BE(decoy.length, 3)
      decoy.copy(hidden, 7)
      setExtensions(content, 105, [
        ['more', Buffer.alloc(8)],
        ['more', hidden],
        ['DATA', secret],
      ])
    },
  ],
  [
    'is longer than the part that is read',
    (content, secret, decoy) =>
      setExtensions(content, 104, [
        ['DATA', decoy],
        ['more', Buffer.alloc(4096)],
        ['DATA', secret],
      ]),
  ],
  [
    'continues where the name of the backing file begins',
    (content, secret, decoy) => {
      const end = setExtensions(content, 104, [['DATA', secret]])
      content.writeBigUInt64BE(BigInt(end), 8)
      setExtensions(content, end, [['DATA', decoy]])
    },
  ],
])('a qcow2 image whose list of extensions %s cannot hide its data file', async (_, write) => {
  const dir = ownTmpdir()
  const path = join(dir, 'disk.qcow2')
  const decoy = join(dir, 'data.raw')
  qemuImg('create', '-q', '-f', 'qcow2', '-o', `data_file=${decoy}`, path, '1M')
  const content = readFileSync(path).fill(0, 104, 65_536)
  content.writeUInt32BE(104, 100)
  write(content, Buffer.from('/etc/passwd'), Buffer.from(decoy))
  writeFileSync(path, content)
  expect([undefined, '/etc/passwd']).toContain(parseQcow2Header(content.subarray(0, 4096))?.dataFile)
  const error = await failureOf(openDisk({ path }))
  expect(error.code).toBe('IMAGE_INVALID')
  expect(error.message).toMatch(/an invalid header|\/etc\/passwd/)
})

test.each([
  ['data_file', 'secret'],
  ['backing file', 'file:secret'],
])('a %s %s, which QEMU would look for in the run folder, is rejected', async (kind, name) => {
  const dir = ownTmpdir()
  const path = join(dir, 'disk.qcow2')
  writeFileSync(join(dir, 'secret'), 'decoy'.repeat(1024))
  const named =
    kind === 'data_file' ? ['-o', `data_file=${name},data_file_raw=on`] : ['-u', '-F', 'raw', '-b', name]
  execFileSync('qemu-img', ['create', '-q', '-f', 'qcow2', ...named, path, '4096'], { cwd: dir })
  const error = await failureOf(openDisk({ path }))
  expect(error.code).toBe('IMAGE_INVALID')
  expect(error.message).toContain("names a file by a path relative to QEMU's working directory")
  expect(error.message).toContain(`Got:      ${name}`)
})

test('a backing file and a data file that are named by absolute paths, with `file:` or without, are read', async () => {
  const dir = ownTmpdir()
  const base = makeDisk(dir)
  for (const name of [base, `file:${base}`]) {
    const path = join(dir, 'overlay.qcow2')
    qemuImg('create', '-q', '-f', 'qcow2', '-F', 'qcow2', '-b', name, path)
    expect((await openDisk({ path })).chain.map((file) => file.path)).toEqual([path, base])
  }
  const path = join(dir, 'data.qcow2')
  qemuImg('create', '-q', '-f', 'qcow2', '-o', `data_file=${join(dir, 'data.raw')}`, path, '1M')
  expect((await openDisk({ path })).format).toBe('qcow2')
})

/** Creates a folder of images with a link that leads out of it, next to a secret that must not be read. */
function makeFolderWithLink() {
  const dir = ownTmpdir()
  const images = join(dir, 'images')
  for (const folder of ['images/sub', 'outside/deep']) mkdirSync(join(dir, folder), { recursive: true })
  writeFileSync(join(dir, 'outside', 'secret'), 'S'.repeat(4096))
  const make = (name: string, format: string, backing: string) => {
    const path = join(images, name)
    qemuImg('create', '-q', '-u', '-f', 'qcow2', '-F', format, '-b', backing, path, '4096')
    return path
  }
  return { images, make, secret: '../outside/secret' }
}

test('a backing file of a linked image is resolved relative to the folder of the link, as in QEMU', async () => {
  const { images, make, secret } = makeFolderWithLink()
  make('sub/middle.qcow2', 'raw', 'base')
  writeFileSync(join(images, 'sub', 'base'), 'decoy'.repeat(1024))
  symlinkSync('sub/middle.qcow2', join(images, 'link.qcow2'))
  symlinkSync(secret, join(images, 'base'))
  const path = make('disk.qcow2', 'qcow2', 'link.qcow2')
  const error = await failureOf(openDisk({ path }))
  expect(error.code).toBe('IMAGE_INVALID')
  expect(error.message).toContain('refers to a file outside of the allowed folders')
})

test('`..` after a symbolic link is resolved as in the kernel, not as text', async () => {
  const { images, make } = makeFolderWithLink()
  symlinkSync('../outside/deep', join(images, 'way'))
  writeFileSync(join(images, 'secret'), 'decoy'.repeat(1024))
  const error = await failureOf(openDisk({ path: make('disk.qcow2', 'raw', 'way/../secret') }))
  expect(error.code).toBe('IMAGE_INVALID')
  expect(error.message).toContain('refers to a file outside of the allowed folders')
})

test('a FIFO in place of an image or of an OCI index does not block', async () => {
  const dir = ownTmpdir()
  const error = await failureOf(resolveImage(makeFifo(dir)))
  expect(error.message).toContain('neither a file nor a block device')
  makeFifo(dir, 'index.json')
  expect((await failureOf(findOciManifest(dir))).code).toBe('IMAGE_INVALID')
})

test.each([
  ['no JSON', 'root:x:0:0'],
  ['a list', '[]'],
  ['null', 'null'],
  ['parts without digests', '{"manifests":[null]}'],
  ['parts that are not a list', '{"manifests":{"length":1}}'],
])('an OCI layout whose index is %s is rejected without quoting it', async (_, text) => {
  const dir = ownTmpdir()
  writeFileSync(join(dir, 'index.json'), text)
  const error = await failureOf(findOciManifest(dir))
  expect(error.code).toBe('IMAGE_INVALID')
  expect(error.message).not.toContain('root:x')
})

test('a hidden backing file below the folder of the image is read only if that is allowed', async () => {
  const dir = ownTmpdir()
  mkdirSync(join(dir, '.ssh'))
  writeFileSync(join(dir, '.ssh', 'key'), 'k'.repeat(1024))
  const path = join(dir, 'disk.qcow2')
  qemuImg('create', '-q', '-u', '-f', 'qcow2', '-F', 'raw', '-b', '.ssh/key', path, '1M')
  const error = await failureOf(openDisk({ path }))
  expect(error.code).toBe('IMAGE_INVALID')
  expect(error.message).toContain('refers to a hidden file')
  expect((await openDisk({ path, backingFolders: [dir] })).chain).toHaveLength(2)
})

test('a root file system with a name that is not UTF-8 is rejected', async () => {
  const dir = ownTmpdir()
  const bad = (name: string) => Buffer.concat([Buffer.from(join(dir, name, 'bad')), Buffer.from([0xff])])
  for (const name of ['file', 'folder']) mkdirSync(join(dir, name))
  writeFileSync(bad('file'), '')
  mkdirSync(bad('folder'))
  for (const name of ['file', 'folder']) {
    const error = await failureOf(readFolder(join(dir, name)))
    expect(error.code).toBe('IMAGE_INVALID')
    expect(error.message).toContain('names in UTF-8')
  }
})

test.each(['null', '{}', '{"digest":5}'])(
  'an OCI manifest whose config is %s is rejected',
  async (config) => {
    const dir = ownTmpdir()
    const blobs = join(dir, 'blobs', 'sha256')
    mkdirSync(blobs, { recursive: true })
    const manifest = `{"layers":[],"config":${config}}`
    const hex = createHash('sha256').update(manifest).digest('hex')
    writeFileSync(join(blobs, hex), manifest)
    const error = await failureOf(readOciImage({ dir, manifest: `sha256:${hex}`, workDir: dir }))
    expect(error.code).toBe('IMAGE_INVALID')
    expect(error.message).toContain('Expected: a `config` with a digest')
  },
)

test('a FIFO in place of a blob of an OCI layout does not block', async () => {
  const dir = ownTmpdir()
  const blobs = join(dir, 'blobs', 'sha256')
  mkdirSync(blobs, { recursive: true })
  const hex = createHash('sha256').update('manifest').digest('hex')
  makeFifo(blobs, hex)
  writeFileSync(join(dir, 'index.json'), JSON.stringify({ manifests: [{ digest: `sha256:${hex}` }] }))
  expect((await failureOf(findOciManifest(dir))).message).toContain('not a regular file')
})

test('the name of a file cannot inject a command of debugfs', async () => {
  const dir = ownTmpdir()
  const source = join(dir, 'source')
  mkdirSync(source)
  writeFileSync(join(source, 'a"\nrm bin\n"'), '')
  const made = makeExt4Disk({ source, path: join(dir, 'disk'), virtualBytes: 64 << 20, label: 'x' })
  const error = await failureOf(made)
  expect(error.code).toBe('IMAGE_INVALID')
  expect(error.message).toContain('names without control characters')
})

test('a qcow2 image whose L1 table is too large, or points to one table a million times, is checked quickly', async () => {
  const dir = ownTmpdir()
  const path = makeDisk(dir)
  const small = readFileSync(path)
  const content = Buffer.concat([small], Math.ceil(small.length / 65_536) * 65_536)
  const many = Buffer.alloc(32 << 20)
  for (let at = 0; at < many.length; at += 8)
    content.copy(many, at, Number(content.readBigUInt64BE(40)), Number(content.readBigUInt64BE(40)) + 8)
  content.writeBigUInt64BE(BigInt(content.length), 40)
  content.writeUInt32BE(many.length / 8, 36)
  writeFileSync(path, Buffer.concat([content, many]))
  await openDisk({ path }).catch(() => {})
  content.writeUInt32BE(many.length / 8 + 1, 36)
  writeFileSync(path, content)
  expect((await failureOf(openDisk({ path }))).code).toBe('IMAGE_INVALID')
})

/** Makes a qcow2 file of 64 TiB with clusters of 2 MiB, whose L1 table points to L2 tables in a hole. */
function makeHollowQcow2(tables: number, distanceBytes: number): string {
  const path = join(ownTmpdir(), 'hollow.qcow2')
  const clusterBytes = 2 << 20
  const header = Buffer.alloc(104)
  header.writeUInt32BE(0x514649fb, 0)
  header.writeUInt32BE(3, 4)
  header.writeUInt32BE(21, 20)
  header.writeBigUInt64BE(64n << 40n, 24)
  header.writeUInt32BE(tables, 36)
  header.writeBigUInt64BE(BigInt(clusterBytes), 40)
  header.writeUInt32BE(104, 100)
  const table = Buffer.alloc(tables * 8)
  for (let index = 0; index < tables; index++)
    table.writeBigUInt64BE(BigInt(2 * clusterBytes + index * distanceBytes), index * 8)
  writeFileSync(path, header)
  truncateSync(path, clusterBytes)
  appendFileSync(path, table)
  truncateSync(path, 3 * clusterBytes + tables * distanceBytes)
  return path
}

/** Checks the tables of a file like the check before qemu-img opens it. */
async function checkTables(path: string, signal?: AbortSignal) {
  const file = await open(path)
  try {
    const head = Buffer.alloc(4096)
    await file.read(head, 0, head.length, 0)
    const header = parseQcow2Header(head)
    if (header === undefined) throw new TypeError('no header')
    return await checkQcow2Tables(file, header, await file.stat(), signal)
  } finally {
    await file.close()
  }
}

test('a qcow2 image whose tables overlap, or are a hole of terabytes, is rejected before they are read', async () => {
  const overlapping = makeHollowQcow2(50_000, 512)
  const error = await failureOf(openDisk({ path: overlapping }))
  expect(error.code).toBe('IMAGE_INVALID')
  expect(error.message).toContain('a qcow2 file with an L2 table that is not aligned to clusters')
  expect(await checkTables(makeHollowQcow2(50_000, 2 << 20))).toEqual({
    problem: 'L2 tables without content',
  })
  const content = readFileSync(makeDisk(ownTmpdir()))
  content.writeBigUInt64BE(content.readBigUInt64BE(40) + 8n, 40)
  const path = join(ownTmpdir(), 'odd.qcow2')
  writeFileSync(path, content)
  expect((await failureOf(openDisk({ path }))).message).toContain('an L1 table that is not aligned')
})

test('the check of the tables of a qcow2 image ends when it is aborted', async () => {
  const path = makeHollowQcow2(100, 2 << 20)
  expect(await checkTables(path)).toEqual({ end: (102 * 2) << 20 })
  await expect(checkTables(path, AbortSignal.abort(new Error('enough')))).rejects.toThrow('enough')
})

const noContent = async function* () {}

function member(path: string, type: TarEntry['type'] = 'file', target = ''): TarEntry {
  return { path, type, mode: 0o755, uid: 0, gid: 0, bytes: 0, offset: 0, target }
}

test.each<[string, TarEntry[], string]>([
  ['2,048 folders deep', [member(`${'a/'.repeat(2047)}f`)], 'a path with more than 256 components'],
  [
    '300 folders deep by a link',
    [member('link', 'symlink', 'a/'.repeat(200)), member(`link/${'b/'.repeat(100)}f`)],
    'a path with more than 256 components',
  ],
  [
    '10,000 steps long by its links',
    [
      ...Array.from({ length: 10 }, (_, at) =>
        member(`l${at}`, 'symlink', `${'../images/'.repeat(1000)}l${at + 1}`),
      ),
      member('l0/f'),
    ],
    'circular or too many links in its path',
  ],
  ['with a name of 256 bytes', [member('é'.repeat(128))], 'a name with more than 255 bytes'],
  ['with a link without a target', [member('link', 'symlink')], 'a link without a target'],
])('a root file system with a member %s is rejected', (_, members, got) => {
  const tree = new RootTree('hostile')
  const addAll = () => {
    for (const entry of members) tree.add(entry, noContent)
  }
  expect(addAll).toThrow(got)
})

test('a root file system whose paths exceed 256 Mi characters is rejected', () => {
  const tree = new RootTree('hostile')
  const long = `/${'n'.repeat(250)}`.repeat(16)
  const addAll = () => {
    for (let count = 0; count < 10_000; count++) tree.add(member(`${count}${long}`), noContent)
  }
  expect(addAll).toThrow('total length of all paths exceeded')
  tree.empty('')
  tree.add(member(`0${long}`), noContent)
})

test('a path that this host cannot create is reported as IMAGE_INVALID', async () => {
  const tree = new RootTree('hostile')
  tree.add(member(Array(16).fill('n'.repeat(250)).join('/')), noContent)
  const dir = join(ownTmpdir(), 'd'.repeat(200))
  mkdirSync(dir)
  const error = await failureOf(tree.write(dir))
  expect(error.code).toBe('IMAGE_INVALID')
  expect(error.message).toContain('too long for this host')
})

test('an import of an archive with many members ends when it is aborted, even while the tree is assembled', async () => {
  const yielded: string[] = []
  const controller = new AbortController()
  setTimeout(() => controller.abort(new Error('enough')))
  const work = async () => {
    for await (const item of iterateInBatches(Array.from({ length: 10_000_000 }).keys(), controller.signal))
      yielded[0] = String(item)
  }
  await expect(work()).rejects.toThrow('enough')
  const path = join(ownTmpdir(), 'root.tar')
  writeFileSync(path, makePaxArchive({ path: 'bin/sh' }))
  const signal = AbortSignal.abort(new Error('enough'))
  const archive = await open(path)
  await expect(readTar(archive, path, signal).next()).rejects.toThrow('enough')
  await archive.close()
})

test('an archive with impossible paths or links is rejected', async () => {
  const dir = ownTmpdir()
  const long = 'a/'.repeat(100_000)
  for (const name of ['path', 'linkpath']) {
    const path = join(dir, 'root.tar')
    writeFileSync(path, makePaxArchive({ [name]: long }))
    const error = await failureOf(resolveImage(path, { cacheDir: join(dir, 'cache') }))
    expect(error.message).toContain('a path of more than 4096 characters')
  }
})

test.each([
  ['that is 1, by a hundred thousand digits', () => `${'0'.repeat(2 ** 17 - 2)}1 `],
  ['of a hundred thousand digits', () => '1'.repeat(2 ** 17)],
  ['that ends after the record', () => '14 path=bin/sh\n'],
  ['that ends after the attributes', () => '9999999999 path=bin/sh\n'],
  ['of its own digits alone', () => '2 path=bin/sh\n'],
])(
  'attributes of a member with a length %s are rejected at once',
  async (_, makeText) => {
    const path = join(ownTmpdir(), 'root.tar')
    writeFileSync(path, makePaxArchive(makeText()))
    const archive = await open(path)
    const error = await failureOf(readTar(archive, path).next())
    expect(error.code).toBe('IMAGE_INVALID')
    expect(error.message).toContain('an invalid pax header at byte 0')
    await archive.close()
  },
  10_000,
)

test('a member whose size is not an integer is rejected', async () => {
  const path = join(ownTmpdir(), 'root.tar')
  const header = Buffer.from(makePaxArchive({ size: '0.5' }))
  // The link becomes a file: a link has no content.
  const at = header.length - 1024 - 512
  header.write('0', at + 156)
  header.fill(' ', at + 148, at + 156)
  const sum = header.subarray(at, at + 512).reduce((total, byte) => total + byte, 0)
  header.write(`${sum.toString(8).padStart(6, '0')}\0 `, at + 148, 'latin1')
  writeFileSync(path, header)
  const archive = await open(path)
  expect((await failureOf(readTar(archive, path).next())).message).toContain('a member that ends after byte')
  await archive.close()
})

test('replacing folders with files repeatedly takes time independent of the size of the tree', () => {
  const tree = new RootTree('hostile')
  const add = (path: string, type: 'file' | 'folder') => tree.add(member(path, type), noContent)
  for (let count = 0; count < 50_000; count++) add(`folder/file-${count}`, 'file')
  for (let count = 0; count < 20_000; count++) {
    add('flips/below', 'file')
    add('flips', 'file')
  }
  expect(tree.nodes.has('flips/below')).toBe(false)
  expect(tree.nodes.size).toBe(50_003)
  tree.remove('folder')
  expect([...tree.nodes.keys()]).toEqual(['', 'flips'])
})

test('UEFI variables that end within their header are rejected', () => {
  const flash = Buffer.alloc(45)
  flash.write('_FVH', 40)
  const add = () => addBootOption(flash, { description: 'x', uri: 'http://x', once: true })
  expect(add).toThrow('cannot be added to `firmware.vars`')
})
