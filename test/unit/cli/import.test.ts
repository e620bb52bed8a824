import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { beforeAll, expect, test } from 'vitest'
import { buildCli, runCli } from '../../support/built-cli.js'
import { makeTemporaryDir } from '../host/fake-program.js'

beforeAll(buildCli, 120_000)

function writeDomain(): string {
  const path = join(makeTemporaryDir(), 'domain.xml')
  const disk = '<disk type="file"><source file="/srv/gone.img"/><target dev="vda"/></disk>'
  writeFileSync(
    path,
    `<domain type="kvm"><name>web</name><memory unit="MiB">512</memory><title>Web</title><devices>${disk}<interface type="user"><model type="virtio"/></interface></devices></domain>`,
  )
  return path
}

test('`withvm import` prints a test, even if the disks do not exist', async () => {
  const { stdout, exitCode } = await runCli(['import', writeDomain()])
  expect(exitCode).toBe(0)
  expect(stdout).toMatchInlineSnapshot(`
    "import { withVM } from 'withvm'

    // Not imported:
    // - title: <title>Web</title>: it identifies a libvirt domain; test guests are temporary

    await withVM(
      {
        name: 'web',
        memory: '512M',
        image: '/srv/gone.img',
        network: { model: 'virtio-net-pci' },
      },
      async (vm) => {
        console.log((await vm.ssh\`uname -a\`).stdout)
      },
    )"
  `)
})

test('`withvm import --json` prints the options as JSON', async () => {
  const { stdout } = await runCli(['import', '--json', writeDomain()])
  expect(JSON.parse(stdout)).toMatchObject({
    options: { name: 'web', memory: '512M', image: '/srv/gone.img' },
    skippedSettings: [{ path: 'title', what: '<title>Web</title>' }],
  })
})

test('`withvm import` of a missing file exits with 2', async () => {
  const { stderr, exitCode } = await runCli(['import', '/nowhere/domain.xml'])
  expect(exitCode).toBe(2)
  expect(stderr).toContain('no file at /nowhere/domain.xml')
})
