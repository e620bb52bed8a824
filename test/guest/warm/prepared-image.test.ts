import { appendFileSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { image, launchVM, type VM, withVM } from 'withvm'
import { findLeftovers, NOTHING } from '../../support/leftovers.js'
import { ownTemplates, templatesIn } from '../../support/own-templates.js'
import { ownTmpdir } from '../../support/own-tmpdir.js'

const options = { standby: false, log: () => {} } as const

test('a preparation is present in all clones, in RAM and on disk', async () => {
  const cacheDir = ownTemplates()
  const log = join(cacheDir, 'runs')
  writeFileSync(log, '')
  const served = image('tiny').prepare(
    async (vm) => {
      appendFileSync(log, 'served\n')
      await vm.ssh`mkdir /srv/www && echo hello >/srv/www/index.html && httpd -h /srv/www`
    },
    { inputs: log },
  )
  for (let run = 0; run < 2; run++) {
    await withVM({ ...options, image: served }, async (vm) => {
      expect((await vm.ssh`wget -qO- http://127.0.0.1/index.html`).stdout).toBe('hello')
      await vm.ssh`echo changed >/srv/www/index.html`
    })
  }
  expect(readFileSync(log, 'utf8')).toBe('served\n')
})

test('a preparation runs on top of the previous one; another input or file means another template', async () => {
  const cacheDir = ownTemplates()
  const note = join(cacheDir, 'note')
  writeFileSync(note, 'first')
  const step = (text: string) =>
    image('tiny')
      .prepare((vm) => vm.ssh`echo one >/root/steps`)
      .prepare(
        async (vm) => {
          await vm.ssh`echo ${text} >>/root/steps; hostname >>/root/steps`
          await vm.upload(note, '/root/note')
        },
        { inputs: text, files: [note] },
      )
  const read = (text: string) =>
    withVM({ ...options, image: step(text), name: 'mine' }, async (vm: VM) => {
      expect(vm.startedFrom.kind).toBe('template')
      return (await vm.ssh`cat /root/steps /root/note; echo; hostname`).stdout.split('\n')
    })
  expect(await read('two')).toEqual(['one', 'two', 'tiny', 'first', 'mine'])
  expect(await read('three')).toEqual(['one', 'three', 'tiny', 'first', 'mine'])
  writeFileSync(note, 'second')
  expect(await read('two')).toEqual(['one', 'two', 'tiny', 'second', 'mine'])
  // One template of the guest alone, one of the first step, and one of each second step.
  expect(templatesIn(cacheDir)).toHaveLength(5)
})

test('a guest of a prepared image can be rebooted and power-cycled, even during a preparation', async () => {
  ownTemplates()
  const restarted = image('tiny').prepare(async (vm) => {
    await vm.ssh`echo kept >/root/kept && sync`
    await vm.powerCut()
    await vm.start()
    await vm.ssh`echo in RAM >/tmp/here`
  })
  await using vm = await launchVM({ ...options, image: restarted })
  expect((await vm.ssh`cat /root/kept /tmp/here`).stdout).toBe('kept\nin RAM')
  await vm.reboot()
  expect((await vm.ssh`cat /root/kept; ls /tmp`).stdout).toBe('kept')
})

test('a failed preparation fails the start with its own error, leaves nothing, and is retried by the next start', async () => {
  ownTemplates()
  const tmpdir = ownTmpdir()
  let tries = 0
  const broken = image('tiny').prepare(async (vm) => {
    tries++
    await vm.ssh`echo not this time >&2; exit 3`
  })
  for (let run = 1; run <= 2; run++) {
    await expect(launchVM({ ...options, image: broken, tmpdir })).rejects.toMatchObject({
      code: 'COMMAND_FAILED',
      exitCode: 3,
    })
    expect(tries).toBe(run)
    expect(findLeftovers(tmpdir)).toEqual(NOTHING)
  }
})

test('the preparations of a guest that boots cold run in that guest', async () => {
  const prepared = image('tiny').prepare((vm) => vm.ssh`echo done >/root/done`)
  await using vm = await launchVM({ ...options, image: prepared, start: 'cold' })
  expect((await vm.ssh`cat /root/done`).stdout).toBe('done')
  await expect(
    launchVM({
      ...options,
      start: 'cold',
      image: image('tiny').prepare(() => Promise.reject(new Error('no'))),
    }),
  ).rejects.toThrow('no')
})
