// The site of the documentation. Its pages are the Markdown files of the repository.
import { readFileSync } from 'node:fs'
import { resolve } from 'node:path'
import { defineConfig } from 'vitepress'

const ROOT = resolve(import.meta.dirname, '../../..')
const { version, description } = JSON.parse(readFileSync(resolve(ROOT, 'package.json'), 'utf8'))

/** Returns the anchor of a heading as GitHub assigns it, so that links work on both. */
function slugify(heading) {
  return heading
    .toLowerCase()
    .replace(/[^\p{L}\p{N}_\- ]/gu, '')
    .replaceAll(' ', '-')
}

/** Returns items of the menu: text and name of a page in `docs`, or a path. */
const pages = (...items) =>
  items.map(([text, page]) => ({ text, link: page.startsWith('/') ? page : `/docs/${page}` }))

export default defineConfig({
  title: 'withvm',
  description,
  srcDir: 'pages', // written by copy-pages.mjs
  outDir: 'dist',
  cacheDir: '.vitepress/cache',
  lastUpdated: false,
  head: [['link', { rel: 'icon', href: 'data:,' }]],
  vite: { build: { chunkSizeWarningLimit: 2000 } }, // the index of the search
  markdown: { anchor: { slugify }, theme: { light: 'github-light', dark: 'github-dark' } },
  themeConfig: {
    outline: { level: [2, 3] },
    search: {
      provider: 'local',
      options: { miniSearch: { searchOptions: { combineWith: 'AND', fuzzy: 0.1, prefix: true } } },
    },
    nav: [
      { text: 'Guide', link: '/docs/guide' },
      { text: 'API', link: '/docs/api' },
      { text: 'Options', link: '/docs/options' },
      { text: version, link: '/CHANGELOG' },
    ],
    sidebar: [
      {
        text: 'Start',
        items: pages(
          ['Quick start', '/README'],
          ['Installation', 'install'],
          ['Guide', 'guide'],
          ['Troubleshooting', 'troubleshooting'],
        ),
      },
      {
        text: 'Tests',
        items: pages(
          ['Vitest', 'writing-tests'],
          ['Matchers', 'matchers'],
          ['Waiting', 'waiting'],
          ['Other test runners', 'other-runners'],
          ['Continuous integration', 'ci'],
          ['When something fails', 'failures'],
          ['Many guests', 'many-guests'],
        ),
      },
      {
        text: 'Guests',
        items: pages(
          ['Images', 'images'],
          ['Warm starts', 'warm-starts'],
          ['Services', 'services'],
          ['Networks', 'networks'],
          ['Network boot', 'netboot'],
          ['Kernels', 'kernels'],
          ['Display and input', 'display'],
          ['Hot-plug', 'running-changes'],
          ['Architectures', 'architectures'],
          ['libvirt', 'libvirt'],
        ),
      },
      {
        text: 'Reference',
        items: pages(
          ['Options', 'options'],
          ['Command line', 'cli'],
          ['Errors', 'errors'],
          ['Arguments of QEMU', 'qemu-arguments'],
          ['Glossary', 'glossary'],
        ),
      },
      {
        text: 'API',
        link: '/docs/api',
        collapsed: false,
        items: pages(
          ['Starting guests', 'api/start'],
          ['vm', 'api/vm'],
          ['vm.ssh', 'api/ssh'],
          ['vm.serial', 'api/serial'],
          ['vm.waitFor', 'api/wait-for'],
          ['checks', 'api/checks'],
          ['Matchers', 'api/matchers'],
          ['Fixtures', 'api/fixtures'],
          ['Images', 'api/images'],
          ['Keyboard and mouse', 'api/input'],
          ['vm.plug, vm.media', 'api/plug'],
          ['vm.netboot', 'api/netboot'],
          ['vm.qmp, ports', 'api/qmp'],
          ['Errors', 'api/errors'],
          ['Types', 'api/types'],
        ),
      },
      {
        text: 'Project',
        items: pages(
          ['Security', 'security'],
          ['Architecture', 'architecture'],
          ['KVM', 'kvm'],
          ['Contributing', '/CONTRIBUTING'],
          ['Changelog', '/CHANGELOG'],
          ['Security policy', '/SECURITY'],
        ),
      },
    ],
  },
})
