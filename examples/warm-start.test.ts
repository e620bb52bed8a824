import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { image, launchVM, withVM } from 'withvm'
import { resolveImage } from '../src/image/resolve-image.js'
import { packBusyboxInitrd } from '../test/support/busybox-root.js'
import { ownTmpdir } from '../test/support/own-tmpdir.js'

test("a guest starts warm by default and boots cold with `start: 'cold'`", async () => {
  // #region started
  await withVM({ image: 'tiny' }, async (vm) => {
    const { kind } = vm.startedFrom // 'template', 'standby' or 'cold'
    expect(kind).not.toBe('cold')
  })
  await withVM({ image: 'tiny', start: 'cold' }, async (vm) => {
    await expect.poll(() => vm.serial.text).toContain('withvm: init') // booted for this test
  })
  // #endregion
})

// #region prepared
const site = image('tiny').prepare(async (vm) => {
  await vm.ssh`mkdir -p /srv/www && echo hello >/srv/www/index.html`
  await vm.ssh`httpd -h /srv/www`
  await vm.waitFor.port(80)
})
// #endregion

test('a prepared image starts with the running server of its preparation', async () => {
  // #region use
  await using vm = await launchVM({ image: site, hostfwd: [{ guest: 80 }] })
  const answer = await fetch(vm.url(80))
  expect(await answer.text()).toBe('hello\n') // the server has been running since the template was saved
  // #endregion
})

test('`vm.restore()` returns to a checkpoint of the same guest', async () => {
  await using vm = await launchVM({ image: 'tiny' })
  // #region checkpoint
  await vm.ssh`echo 1 >/root/version`
  await vm.checkpoint('version-1')
  await vm.ssh`echo 2 >/root/version && sync`
  await vm.restore('version-1')
  expect((await vm.ssh`cat /root/version`).stdout).toBe('1')
  // #endregion
})

test("a kernel with an initramfs starts warm with `identity: 'shared'`", async () => {
  const kernel = (await resolveImage('tiny')).directBoot?.kernel
  const initrd = join(ownTmpdir(), 'initrd')
  writeFileSync(initrd, await packBusyboxInitrd('#!/bin/sh\necho "init: ready"\nexec cat\n'))
  // #region copies
  await using vm = await launchVM({
    kernel,
    initrd,
    append: 'console=ttyS0',
    ssh: false,
    ready: /init: ready/,
    start: 'warm',
    identity: 'shared',
  })
  expect(vm.startedFrom.kind).toBe('template')
  // #endregion
})
