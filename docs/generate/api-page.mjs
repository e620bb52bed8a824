import { Declarations } from './declarations.mjs'
import { code, endSentence, fence, linkPages, madeFrom, slug, value } from './markdown.mjs'
import { COMMON, optionsPage } from './options-page.mjs'

const MAIN = 'fixtures/index.d.ts'
const VITEST = 'fixtures/vitest.d.ts'

/**
 * Pages: title, file, and sections. A section has a heading, its entry point, names of functions or of one type, and an
 * expression of that type. Members without such an expression are fixtures.
 */
const PAGES = [
  ['Starting guests', 'start', [['Functions', MAIN, ['withVM', 'launchVM', 'launchVMs', 'forkAll']]]],
  ['The guest: vm', 'vm', [['VM', MAIN, 'VM', 'vm']]],
  [
    'Commands: vm.ssh',
    'ssh',
    [
      ['Commands', MAIN, 'Ssh', 'vm.ssh'],
      ['Interactive shell', MAIN, 'ShellSession', 'shell'],
    ],
  ],
  [
    'Serial console: vm.serial',
    'serial',
    [
      ['Serial console', MAIN, 'SerialConsole', 'vm.serial'],
      ['Screen of the serial console', MAIN, 'SerialScreen', 'screen'],
    ],
  ],
  ['Waits: vm.waitFor', 'wait-for', [['Waits', MAIN, 'WaitFor', 'vm.waitFor']]],
  [
    'Checks and invariants',
    'checks',
    [
      ['Checks', MAIN, 'checks', 'checks'],
      ['Invariants', MAIN, 'Invariant', 'invariant'],
    ],
  ],
  [
    'Matchers',
    'matchers',
    [
      ['Matchers of consoles', VITEST, 'SerialMatchers', 'expect(vm.serial)'],
      ['Matchers of commands', VITEST, 'CommandMatchers', 'expect(command)'],
      ['Matchers of guests', VITEST, 'GuestMatchers', 'expect(vm)'],
    ],
  ],
  [
    'Fixtures of Vitest',
    'fixtures',
    [
      ['Functions', VITEST, ['test', 'maskVolatile']],
      ['Fixtures', VITEST, 'GuestFixtures', undefined],
    ],
  ],
  [
    'Images',
    'images',
    [
      ['Functions', MAIN, ['image', 'defineImage']],
      ['Prepared images', MAIN, 'PreparedImage', 'prepared'],
    ],
  ],
  [
    'Keyboard and mouse',
    'input',
    [
      ['Keyboard', MAIN, 'Keyboard', 'vm.keyboard'],
      ['Mouse', MAIN, 'Mouse', 'vm.mouse'],
    ],
  ],
  [
    'Hot-plug: vm.plug, vm.media',
    'plug',
    [
      ['Hot-plug', MAIN, 'Plug', 'vm.plug'],
      ['Plugged devices', MAIN, 'PluggedDevice', 'device'],
      ['Removable media', MAIN, 'Media', 'vm.media'],
    ],
  ],
  [
    'Network boot: vm.netboot',
    'netboot',
    [
      ['Network boot', MAIN, 'Netboot', 'vm.netboot'],
      ['Builders of the option `netboot`', MAIN, 'netboot', 'netboot'],
    ],
  ],
  [
    'QMP and ports',
    'qmp',
    [
      ['QMP', MAIN, 'QmpClient', 'vm.qmp'],
      ['Ports', MAIN, 'GuestPort', 'port'],
    ],
  ],
]

const ERRORS = ['VMError', 'InfrastructureError', 'UsageError', 'GuestError', 'CommandError']

/** Files whose types are on the page of the options. The members of a base are there under the derived types. */
const OPTION_FILES =
  /^src\/spec\/(?:options|image-source|netboot|base-image)|^src\/common\/(?:duration|units)/

/** Types whose members are documented elsewhere: the commands of QMP by QEMU. */
const FOREIGN = new Set(['QmpCommands'])

const INTRO =
  'Functions, classes and types of `withvm` and `withvm/vitest`, from the comments of the source. All properties are read-only. [Options](options.md) lists the members of `VMOptions`, [errors](errors.md) the codes of errors.'

/** Returns the pages by name: an index, and a page for each group of members. */
export async function apiPages(tools) {
  const { read, load } = tools
  const { ERROR_CODES } = await load('src/errors.js')
  const options = await optionsPage(tools)
  const page = new ApiPages({
    declarations: new Declarations((file) => read(`dist/${file}`)),
    errorCodes: ERROR_CODES,
    optionNames: new Set(['VMOptions', ...options.match(/\w+/g)]),
    optionHeadings: new Set([...options.matchAll(/^### (\w+)$/gm)].map(([, name]) => name)),
  })
  page.render() // finds the types that the pages refer to, for the links of the final rendering
  return page.render()
}

class ApiPages {
  #declarations
  #errorCodes
  #optionNames
  #optionHeadings
  /** Names of declarations that have a section, with their links from another page of the API. */
  #shown = new Map()
  /** Types on the page of types, by name. */
  #types = new Map()
  /** Code on the pages, with the file whose imports it refers to. */
  #codes = []
  /** Members of the current page, for the index. */
  #members = []
  /** Exports and members without a comment. */
  #undocumented = new Set()

  constructor({ declarations, errorCodes, optionNames, optionHeadings }) {
    this.#declarations = declarations
    this.#errorCodes = errorCodes
    this.#optionNames = optionNames
    this.#optionHeadings = optionHeadings
  }

  render() {
    const pages = {}
    const index = [madeFrom('the published types'), '# API', INTRO]
    const add = (title, name, parts) => {
      const page = [madeFrom('the published types'), `# ${title}`, ...parts].join('\n\n')
      pages[`api/${name}.md`] = `${page}\n`
      const members = this.#members.map((member) => `[${code(member)}](api/${name}.md#${slug(member)})`)
      index.push(`## [${title}](api/${name}.md)`, members.join(', '))
      this.#members = []
    }
    for (const [title, name, sections] of PAGES) {
      const hasHeadings = sections.length > 1
      add(title, name, [
        fence('ts', this.#writeImports(sections)),
        ...sections.map((section) => this.renderSection({ page: name, hasHeadings }, ...section)),
      ])
    }
    add('Errors', 'errors', this.renderErrors())
    add('Types', 'types', this.renderTypes())
    if (this.#undocumented.size > 0)
      throw new Error(`docs/generate: these have no comment: ${[...this.#undocumented].join(', ')}`)
    return { 'api.md': `${index.join('\n\n')}\n`, ...pages }
  }

  /** Returns the import of the names of a page; matchers come with `expect`. */
  #writeImports(sections) {
    const names = sections.flatMap(([, entry, names]) => {
      if (Array.isArray(names)) return names
      if (names.endsWith('Matchers')) return ['expect']
      const isValue = ['const', 'function'].includes(this.#require(entry, names)[0].kind)
      return [isValue ? names : `type ${names}`]
    })
    const from = sections[0][1] === VITEST ? 'withvm/vitest' : 'withvm'
    const areTypes = names.every((name) => name.startsWith('type '))
    const list = [...new Set(names)].join(', ')
    return areTypes
      ? `import type { ${list.replaceAll('type ', '')} } from '${from}'`
      : `import { ${list} } from '${from}'`
  }

  renderSection({ page, hasHeadings }, heading, entry, names, path) {
    const parts = hasHeadings ? [`## ${heading}`] : []
    if (Array.isArray(names)) {
      for (const name of names) {
        this.#shown.set(name, `${page}.md#${slug(name)}`)
        parts.push(...this.#renderFunction(entry, name))
      }
      return parts.join('\n\n')
    }
    const found = this.#require(entry, names)
    this.#shown.set(names, hasHeadings ? `${page}.md#${slug(heading)}` : `${page}.md`)
    this.#codes.push({ file: found[0].file, code: found[0].head })
    if (path !== undefined && path !== names) parts.push(`${code(path)} is of type ${code(names)}.`)
    parts.push(...this.#renderComment(found[0].comment))
    const members = found[0].members.flatMap((member) => this.#followFunction(found[0], member))
    for (const name of new Set(members.map((member) => member.name))) {
      parts.push(
        ...this.#renderMember(
          path,
          members.filter((member) => member.name === name),
        ),
      )
    }
    return parts.join('\n\n')
  }

  renderErrors() {
    const classes = ERRORS.map((name) => this.#require(MAIN, name)[0])
    for (const { name } of classes) this.#shown.set(name, `errors.md#${slug(name)}`)
    return [
      'Classes of the errors that withvm throws. [Errors](../errors.md) lists the codes.',
      ...classes.flatMap((found) => this.#renderType(found)),
    ]
  }

  /** Returns the interfaces and types that the code on the page refers to, and all exported ones. */
  renderTypes() {
    for (const entry of [MAIN, VITEST]) {
      for (const name of this.#declarations.listExports(entry)) this.#codes.push({ file: entry, code: name })
    }
    const types = this.#types
    for (const { file, code: text } of this.#codes) {
      const isExported = file === MAIN || file === VITEST
      for (const [word] of text.replaceAll(/\/\*[\s\S]*?\*\/|'[^']*'/g, '').matchAll(/[A-Za-z]\w*/g)) {
        const found = this.#findType(file, word)
        if (found === undefined || this.#shown.has(found.name) || types.has(found.name)) continue
        if (OPTION_FILES.test(found.file) && (!isExported || this.#optionNames.has(found.name))) continue
        if (['function', 'const'].includes(found.kind)) {
          if (!isExported) continue
          throw new Error(`docs/generate: ${found.name} has no section in the page of the API`)
        }
        types.set(found.name, found)
        this.#codes.push({ file: found.file, code: found.code })
      }
    }
    const sorted = [...types.values()].sort((a, b) => (a.name < b.name ? -1 : 1))
    return sorted.flatMap((found) => this.#renderType(found))
  }

  #require(file, name) {
    const found = this.#declarations.find(file, name)
    if (found.length === 0) throw new Error(`docs/generate: ${file} does not export ${name}`)
    return found
  }

  /** Returns the declaration of a type. An alias that only sets the type of the guest is replaced by its target. */
  #findType(file, name) {
    const [found] = this.#declarations.find(file, name)
    const [, target] = /^type \w+(?:<.*>)? = (\w+)<(?:T, )?VM>$/.exec(found?.code ?? '') ?? []
    return target === undefined ? found : this.#findType(found.file, target)
  }

  #renderFunction(entry, name) {
    const found = this.#require(entry, name)
    this.#codes.push(...found)
    const isFunction = found[0].kind === 'function'
    this.#requireComment(name, found)
    this.#members.push(isFunction ? `${name}()` : name)
    return [
      `### ${code(isFunction ? `${name}()` : name)}`,
      fence('ts', found.map((one) => one.code.replace(/^(?:function|const) /, '')).join('\n')),
      this.#renderLinks(found, name),
      ...found.flatMap(({ comment }) => this.#renderComment(comment)),
    ]
  }

  /** Replaces a member that is declared as `typeof someFunction` with that function. */
  #followFunction({ file }, member) {
    const [, name] = /^\w+: typeof (\w+)$/.exec(member.code) ?? []
    const found = name === undefined ? [] : this.#require(file, name)
    if (found.length === 0) return [{ ...member, file }]
    return found.map((one) => ({
      name: member.name,
      file: one.file,
      isMethod: true,
      code: one.code.replace(/^function /, ''),
      comment: one.comment,
    }))
  }

  #renderMember(path, overloads) {
    const [{ name, isMethod }] = overloads
    const signatures = overloads.map((one) => writeSignature(one))
    this.#codes.push(...overloads.map(({ file }, index) => ({ file, code: signatures[index] })))
    const member = name === '' || name.startsWith('[') ? name : `.${name}`
    const heading = path === undefined ? name : `${path}${member}${isMethod ? '()' : ''}`
    this.#requireComment(heading, overloads)
    this.#members.push(heading)
    return [
      `### ${code(heading)}`,
      fence('ts', signatures.join('\n')),
      this.#renderLinks(
        overloads.map(({ file }, index) => ({ file, code: signatures[index] })),
        name,
      ),
      ...overloads.flatMap(({ comment }) => this.#renderComment(comment)),
    ]
  }

  #renderType(found) {
    this.#requireComment(found.name, [found])
    this.#members.push(found.name)
    const parts = [`## ${found.name}`, this.#renderText(found.comment)].filter((part) => part !== '')
    const links = this.#renderLinks([found], found.name)
    const isPlain = found.kind !== 'type' && found.members.every(({ isMethod }) => !isMethod)
    if (!isPlain) return [...parts, fence('ts', found.code), links].filter((part) => part !== '')
    const parents = /(?:class|interface) \w+(?:<.*?>)?(?: extends (.+?))?(?: implements .+)? \{/.exec(
      found.head,
    )?.[1]
    if (parents !== undefined) parts.push(`Extends ${code(parents)}.`)
    const items = found.members.map(({ name, code: text, comment }) => {
      const type = text
        .replace(/^\w+\??: /, '')
        .replaceAll(/\s+/g, ' ')
        .replace(/ \| undefined$/, '')
      const meaning = this.#renderText(comment) || (type === 'AbortSignal' ? COMMON.signal : '')
      if (meaning === '' && !FOREIGN.has(found.name)) this.#undocumented.add(`${found.name}.${name}`)
      const texts = [meaning === '' ? '' : endSentence(meaning), ...this.#renderTags(comment)]
      return `- ${code(name)}: ${code(type)}. ${texts.join(' ').replaceAll('\n', ' ')}`.trim()
    })
    return [...parts, items.join('\n'), links].filter((part) => part !== '')
  }

  #requireComment(name, declarations) {
    if (declarations.every(({ comment }) => comment.text === '')) this.#undocumented.add(name)
  }

  /** Returns links to the types in signatures. */
  #renderLinks(signatures, own) {
    const links = new Map()
    for (const { file, code: text } of signatures) {
      for (const [word] of text.replaceAll(/\/\*[\s\S]*?\*\/|'[^']*'/g, '').matchAll(/[A-Z]\w*/g)) {
        const found = this.#findType(file, word)
        const link = found === undefined || found.name === own ? undefined : this.#linkOf(found.name)
        if (link !== undefined) links.set(found.name, `[${code(found.name)}](${link})`)
      }
    }
    return links.size === 0 ? '' : `Types: ${[...links.values()].join(', ')}`
  }

  #linkOf(name) {
    if (this.#shown.has(name)) return this.#shown.get(name)
    if (this.#types.has(name)) return `types.md#${slug(name)}`
    if (this.#optionHeadings.has(name)) return `../options.md#${slug(name)}`
    return name === 'VMOptions' ? '../options.md' : undefined
  }

  #renderComment(comment) {
    const tags = this.#renderTags(comment)
    const examples = comment.tags.filter(({ name }) => name === 'example')
    return [
      this.#renderText(comment),
      tags.map((tag) => `- ${tag}`).join('\n'),
      ...examples.map(({ text }) => fence('ts', text)),
    ].filter((part) => part !== '')
  }

  #renderText({ text }) {
    return linkPages(this.#markCodes(text), '../')
  }

  #renderTags({ tags }) {
    return tags.flatMap(({ name, text }) => {
      if (name === 'example') return []
      if (name === 'default') return [`Default: ${endSentence(value(text))}`]
      if (name === 'returns') return [`Returns ${endSentence(this.#markCodes(text))}`]
      const [, first, rest] = /^(\S+) ?([\s\S]*)$/.exec(text)
      if (name === 'param') return [`${code(first)}: ${endSentence(this.#markCodes(rest))}`]
      const [, errorClass] = /^\{(\w+)\}$/.exec(first) ?? []
      const thrown = errorClass === undefined ? text : `${code(errorClass)} ${rest}`
      return [`Throws ${endSentence(this.#markCodes(thrown.trim()))}`]
    })
  }

  /** Marks codes of errors, and the class in `{Class} CODE`. */
  #markCodes(text) {
    const classes = text.replaceAll(/\{(\w+Error)\}(?= [A-Z]+_)/g, (_, name) => code(name))
    return classes.replaceAll(/(?<![`\w])[A-Z]+(?:_[A-Z]+)+(?![`\w])/g, (word) =>
      word in this.#errorCodes ? code(word) : word,
    )
  }
}

/** Returns the signature of a member. The type of a matcher is the function in it. */
function writeSignature({ name, code: text, isMethod }) {
  const matcher = /^\w+: For<T, [^,]+, ([\s\S]*)>$/.exec(text)?.[1]
  if (matcher === undefined) return isMethod ? text.replace(/^(\w+): (\([\s\S]*\)) => /, '$1$2: ') : text
  if (!matcher.startsWith('{')) return `${name}${matcher.replace(/\) => (?=Promise<void>$)/, '): ')}`
  return [...matcher.matchAll(/^ +(\(.*\): .*);$/gm)].map(([, overload]) => `${name}${overload}`).join('\n')
}
