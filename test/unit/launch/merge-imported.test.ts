import { expect, test } from 'vitest'
import { mergeDomain } from '../../../src/launch/import-domain.js'
import { mergeCommandLine } from '../../../src/launch/merge-command-line.js'
import { makeDisk } from '../../support/disk-images.js'
import { ownTmpdir } from '../../support/own-tmpdir.js'

const DOMAIN = '<domain type="kvm"><name>web</name><memory unit="M">512</memory><vcpu>2</vcpu></domain>'

test('explicit options override those of a libvirt domain', async () => {
  const { options } = await mergeDomain({ libvirtXML: DOMAIN, cpus: 4 })
  expect(options).toMatchObject({ name: 'web', memory: '512M', cpus: 4 })
  expect(options).not.toHaveProperty('libvirtXML')
})

test('explicit options override options imported from a QEMU command line', async () => {
  const { options } = await mergeCommandLine({ commandLine: 'qemu -m 512 -smp 2', cpus: 4 })
  expect(options).toMatchObject({ memory: '512M', cpus: 4, ready: 'none' })
  expect(options).not.toHaveProperty('commandLine')
})

test('an explicit option that is undefined overrides no imported one', async () => {
  const fromDomain = await mergeDomain({ libvirtXML: DOMAIN, memory: undefined })
  const fromLine = await mergeCommandLine({ commandLine: 'qemu -m 512', memory: undefined })
  expect([fromDomain.options.memory, fromLine.options.memory]).toEqual(['512M', '512M'])
})

test('an explicit image replaces the imported image and its system disk', async () => {
  const image = makeDisk(ownTmpdir())
  const disk = `<devices><disk type="file" device="disk"><driver name="qemu" type="qcow2" cache="none"/><source file="${image}"/><target dev="sda" bus="sata"/></disk></devices>`
  const libvirtXML = DOMAIN.replace('</domain>', `${disk}</domain>`)
  const commandLine = `qemu -hda ${image}`
  const imported = [await mergeDomain({ libvirtXML }), await mergeCommandLine({ commandLine })]
  expect(imported.map(({ options }) => options.image ?? options.hda)).toEqual([
    { path: image, format: 'qcow2' },
    image,
  ])
  const replaced = [
    await mergeDomain({ libvirtXML, image: 'tiny' }),
    await mergeCommandLine({ commandLine, image: 'tiny' }),
  ]
  for (const { options } of replaced) {
    expect(options.image).toBe('tiny')
    expect(options).not.toHaveProperty('hda')
    expect(options).not.toHaveProperty('systemDisk')
  }
})
