import { createHash, randomBytes } from 'node:crypto'
import {
  chmod,
  mkdir,
  mkdtemp,
  readdir,
  readFile,
  readlink,
  rm,
  stat,
  symlink,
  writeFile,
} from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect } from 'vitest'
import { guestTest } from '../support/guest-test.js'
import { rejection } from '../support/messages.js'

const test = guestTest({ image: 'tiny' })

let dir: string
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'transfer-'))
})
afterEach(() => rm(dir, { recursive: true, force: true }))

const sha256 = (bytes: Buffer) => createHash('sha256').update(bytes).digest('hex')

describe('files', () => {
  test('a file of 10 MiB is copied unchanged in both directions', async ({ vm }) => {
    const bytes = randomBytes(10 * 1024 ** 2)
    await writeFile(join(dir, 'big'), bytes)
    await vm.upload(join(dir, 'big'), '/root/big')
    expect((await vm.ssh`sha256sum /root/big`).stdout).toBe(`${sha256(bytes)}  /root/big`)
    await vm.download('/root/big', join(dir, 'back'))
    expect(sha256(await readFile(join(dir, 'back')))).toBe(sha256(bytes))
  })

  test('a copied file keeps its mode and replaces an existing file', async ({ vm }) => {
    await writeFile(join(dir, 'script'), '#!/bin/sh\necho one\n', { mode: 0o750 })
    await vm.upload(join(dir, 'script'), '/root/script')
    expect((await vm.ssh`/root/script; stat -c %a /root/script`).stdout).toBe('one\n750')
    await writeFile(join(dir, 'script'), '#!/bin/sh\necho 2\n')
    await vm.upload(join(dir, 'script'), '/root/script')
    expect((await vm.ssh`/root/script`).stdout).toBe('2')
    await vm.ssh`chmod 600 /root/script`
    await vm.download('/root/script', join(dir, 'copy'))
    expect((await stat(join(dir, 'copy'))).mode & 0o777).toBe(0o600)
  })

  test('an empty file and a file of /proc with a reported size of 0 are copied', async ({ vm }) => {
    await writeFile(join(dir, 'empty'), '')
    await vm.upload(join(dir, 'empty'), '/root/empty')
    expect((await vm.ssh`stat -c %s /root/empty`).stdout).toBe('0')
    await vm.download('/proc/version', join(dir, 'version'))
    expect(await readFile(join(dir, 'version'), 'utf8')).toMatch(/^Linux version /)
  })

  test('a file is copied to a new folder, which is created, and into an existing folder', async ({ vm }) => {
    await writeFile(join(dir, 'it'), 'it')
    await vm.upload(join(dir, 'it'), '/root/new/deep/named')
    await vm.upload(join(dir, 'it'), '/root/new/deep')
    await vm.upload(join(dir, 'it'), '/root/other/')
    const { stdout } = await vm.ssh`cd /root && find new other -type f | sort`
    expect(stdout).toBe('new/deep/it\nnew/deep/named\nother/it')
    await vm.download('/root/new/deep/named', join(dir, 'made', 'here'))
    expect(await readFile(join(dir, 'made', 'here'), 'utf8')).toBe('it')
  })
})

test('a folder is copied with its empty folders, links, modes and unusual names in both directions', async ({
  vm,
}) => {
  const tree = join(dir, 'tree')
  await mkdir(join(tree, 'empty'), { recursive: true })
  await mkdir(join(tree, 'sub', 'deep'), { recursive: true })
  await writeFile(join(tree, 'sub', 'deep', "it's a file\n"), 'deep')
  await writeFile(join(tree, 'run'), '#!/bin/sh\n', { mode: 0o755 })
  await symlink('sub/deep', join(tree, 'link'))
  await chmod(join(tree, 'empty'), 0o700)
  await vm.upload(tree, '/root/tree')
  const { stdout } = await vm.ssh`cd /root/tree && stat -c '%A %n' empty link run sub/deep && readlink link`
  expect(stdout).toBe('drwx------ empty\nlrwxrwxrwx link\n-rwxr-xr-x run\ndrwxr-xr-x sub/deep\nsub/deep')
  await vm.download('/root/tree', join(dir, 'back'))
  expect((await readdir(join(dir, 'back'), { recursive: true })).sort()).toEqual(
    (await readdir(tree, { recursive: true })).sort(),
  )
  expect(await readFile(join(dir, 'back', 'sub', 'deep', "it's a file\n"), 'utf8')).toBe('deep')
  expect(await readlink(join(dir, 'back', 'link'))).toBe('sub/deep')
  expect((await stat(join(dir, 'back', 'empty'))).mode & 0o777).toBe(0o700)
})

describe('failed copies', () => {
  test('a copy of a missing file is rejected with both paths', async ({ vm }) => {
    const up = await rejection(vm.upload(join(dir, 'absent'), '/root/absent'))
    expect(up).toMatchObject({ code: 'TRANSFER_FAILED', kind: 'guest' })
    expect(up.message).toBe(
      [
        'The upload failed: no such file or folder.',
        `  Expected: a copy of ${dir}/absent (host) at /root/absent (guest)`,
        '  Got:      no such file',
        'Fix: Check the path: relative paths start at the current folder.',
      ].join('\n'),
    )
    const down = await rejection(vm.download('/root/absent', join(dir, 'absent')))
    expect(down).toMatchObject({ code: 'TRANSFER_FAILED' })
    expect(down.message).toContain(`a copy of /root/absent (guest) at ${dir}/absent (host)`)
    expect(await readdir(dir)).toEqual([])
  })

  test('an upload to a path below a file is rejected', async ({ vm }) => {
    await writeFile(join(dir, 'it'), 'it')
    const error = await rejection(vm.upload(join(dir, 'it'), '/etc/passwd/it'))
    expect(error).toMatchObject({ code: 'TRANSFER_FAILED' })
    expect(error.message).toMatch(/^The upload failed: a part of the path is not a folder\.\n/)
  })

  test('an upload to an unwritable path is rejected with the path', async ({ vm }) => {
    await writeFile(join(dir, 'it'), 'it')
    const error = await rejection(vm.upload(join(dir, 'it'), '/proc/it'))
    expect(error).toMatchObject({ code: 'TRANSFER_FAILED' })
    expect(error.message).toContain('at /proc/it (guest)')
  })

  test('an upload to a full disk is rejected, and the next copy succeeds', async ({ vm }) => {
    await vm.ssh`mkdir -p /mnt/small && mount -t tmpfs -o size=1M tmpfs /mnt/small`
    await writeFile(join(dir, 'two'), randomBytes(2 * 1024 ** 2))
    const error = await rejection(vm.upload(join(dir, 'two'), '/mnt/small/two'))
    expect(error).toMatchObject({ code: 'TRANSFER_FAILED' })
    expect(error.message).toMatch(/^The upload failed: .*space/)
    await vm.ssh`rm /mnt/small/two`
    await writeFile(join(dir, 'one'), 'fits')
    await vm.upload(join(dir, 'one'), '/mnt/small/')
    expect((await vm.ssh`cat /mnt/small/one`).stdout).toBe('fits')
  })

  test('an upload is rejected when its signal aborts', async ({ vm }) => {
    await writeFile(join(dir, 'big'), randomBytes(20 * 1024 ** 2))
    const error = await rejection(
      vm.upload(join(dir, 'big'), '/root/aborted', { signal: AbortSignal.timeout(200) }),
    )
    expect(error.name).toBe('TimeoutError')
    expect((await vm.ssh`echo runs`).stdout).toBe('runs')
  })

  test('an upload is rejected when the power of the guest is cut', async ({ vm }) => {
    await writeFile(join(dir, 'big'), randomBytes(20 * 1024 ** 2))
    const running = rejection(vm.upload(join(dir, 'big'), '/root/cut'))
    await vm.ssh`while [ ! -s /root/cut ]; do :; done`
    await vm.powerCut()
    expect(await running).toMatchObject({ code: 'VM_NOT_RUNNING' })
  })
})
