import { randomBytes } from 'node:crypto'
import {
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readlinkSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { launchVM, type VM } from 'withvm'

let vm: VM
let here: string

beforeAll(async () => {
  here = mkdtempSync(join(tmpdir(), 'withvm-channel-'))
  vm = await launchVM({ image: 'tiny' })
})
afterAll(async () => {
  await vm?.[Symbol.asyncDispose]()
  rmSync(here, { recursive: true })
})

test('each of 25 concurrent commands gets its own output, although the server drops channels under load', async () => {
  const results = await Promise.all(Array.from({ length: 25 }, (_, index) => vm.ssh(`echo ${index}`)))
  expect(results.map((result) => result.stdout)).toEqual(results.map((_, index) => String(index)))
})

test('a command can write megabytes to stdout and stderr at the same time', async () => {
  const command = 'head -c 5000000 /dev/zero & head -c 5000000 /dev/zero >&2; wait'
  const { stdout, stderr } = await vm.ssh(command)
  expect([stdout.length, stderr.length]).toEqual([5_000_000, 5_000_000])
})

test('a command that times out is killed, and the connection stays usable', async () => {
  const error = await vm.ssh('echo $$; exec sleep 60', { timeout: '2s' }).catch((caught) => caught)
  expect(error).toMatchObject({ code: 'COMMAND_TIMEOUT', stdout: expect.stringMatching(/^\d+$/) })
  const isThere = async () => (await vm.ssh(`test -d /proc/${error.stdout}`, { reject: false })).exitCode
  await expect.poll(isThere, { timeout: 5000 }).toBe(1)
})

test('a folder with links is unchanged after an upload and a download', async () => {
  const source = join(here, 'tree')
  mkdirSync(source)
  writeFileSync(join(source, 'file'), randomBytes(1_000_003), { mode: 0o750 })
  symlinkSync('file', join(source, 'link'))
  symlinkSync('/nowhere', join(source, 'dangling'))
  await vm.upload(source, '/tmp/new/tree')
  expect((await vm.ssh`readlink /tmp/new/tree/link`).stdout).toBe('file')
  expect((await vm.ssh`readlink /tmp/new/tree/dangling`).stdout).toBe('/nowhere')
  await vm.download('/tmp/new/tree', join(here, 'back'))
  expect(readFileSync(join(here, 'back/file')).equals(readFileSync(join(source, 'file')))).toBe(true)
  expect(lstatSync(join(here, 'back/file')).mode & 0o777).toBe(0o750)
  expect(readlinkSync(join(here, 'back/link'))).toBe('file')
})

test('an upload to a full file system reports that no space is left', async () => {
  writeFileSync(join(here, 'big'), randomBytes(2_000_000))
  await vm.ssh`mkdir /tmp/small && mount -t tmpfs -o size=1m none /tmp/small`
  await expect(vm.upload(join(here, 'big'), '/tmp/small/big')).rejects.toMatchObject({
    code: 'TRANSFER_FAILED',
    message: expect.stringContaining('The upload failed: no space left in the guest'),
  })
})

test('a file of /proc with a reported size of 0 is downloaded completely', async () => {
  await vm.download('/proc/meminfo', join(here, 'meminfo'))
  expect(readFileSync(join(here, 'meminfo'), 'utf8')).toMatch(/^MemTotal:.*\n(.|\n)*HugePages_Total/)
})
