import {
  isSpecType,
  type Prompt as ListedPrompt,
  type ResourceTemplateType as ListedTemplate,
  type Tool as ListedTool,
  type StandardSchemaWithJSON,
} from '@modelcontextprotocol/server'
import { z } from 'zod'
import type { Parsed } from '../context.ts'
import type { Catalog, Prompt, Resource, Tool } from '../define.ts'

/** A tool with what the SDK wants of it, converted once: conversion in each request costs 0.3 ms a tool. */
export interface ToolDefinition {
  readonly tool: Tool
  readonly listed: ListedTool
  /** A Standard Schema whose validation is the parse that `authorize` made. */
  readonly inputSchema: (parsed: Parsed) => StandardSchemaWithJSON
  /** Without validation: the call wrapper has checked the result. */
  readonly outputSchema: StandardSchemaWithJSON
}

export interface Definitions {
  readonly tools: ReadonlyMap<string, ToolDefinition>
  readonly resources: ReadonlyMap<
    string,
    { readonly resource: Resource; readonly listed: ListedTemplate }
  >
  readonly prompts: ReadonlyMap<string, { readonly prompt: Prompt; readonly listed: ListedPrompt }>
}

/** The headers that repeat parameters of tools (`x-mcp-header`), which a browser must be let send. */
export function paramHeaders({ tools }: Definitions): readonly string[] {
  const properties = [...tools.values()].flatMap(({ listed }) =>
    Object.values(listed.inputSchema.properties ?? {}),
  )
  return properties.flatMap((property) =>
    typeof property === 'object' && property !== null && 'x-mcp-header' in property
      ? [`Mcp-Param-${String(property['x-mcp-header'])}`]
      : [],
  )
}

export function definitionsOf(catalog: Catalog): Definitions {
  return {
    tools: new Map(catalog.tools.map((tool) => [tool.name, toolDefinition(tool)])),
    resources: new Map(
      catalog.resources.map((resource) => [
        resource.uriTemplate,
        { resource, listed: listedTemplate(resource) },
      ]),
    ),
    prompts: new Map(
      catalog.prompts.map((prompt) => [prompt.name, { prompt, listed: listedPrompt(prompt) }]),
    ),
  }
}

function toolDefinition(tool: Tool): ToolDefinition {
  const { name, title, description, annotations } = tool
  const inputSchema = jsonSchema(tool.input, 'input')
  const outputSchema = jsonSchema(tool.output, 'output')
  const listed: unknown = { name, title, description, annotations, inputSchema, outputSchema }
  if (!isSpecType.Tool(listed)) throw new TypeError(`Tool ${name} is not one that MCP can list`)
  return {
    tool,
    listed,
    inputSchema: (parsed) => standardSchema(inputSchema, () => answerable(parsed)),
    outputSchema: standardSchema(outputSchema, (value) => ({ value })),
  }
}

/** Issues that one answer names. A body can hold more mistakes than an answer should hold words. */
const MAX_ISSUES = 10

/**
 * What the SDK may put into its answer when the input did not parse: places and rules of our schema,
 * but neither names nor values of the caller.
 */
function answerable(parsed: Parsed): Parsed {
  if (parsed.issues === undefined) return parsed
  const issues = parsed.issues.slice(0, MAX_ISSUES).map((issue) => {
    const quotes = 'code' in issue && issue.code === 'unrecognized_keys'
    return { path: issue.path, message: quotes ? 'Unrecognized keys' : issue.message }
  })
  return { issues }
}

function listedTemplate(resource: Resource): ListedTemplate {
  const { uriTemplate, name, title, description, mimeType } = resource
  return { uriTemplate, name, title, description, mimeType }
}

function listedPrompt({ name, title, description, input }: Prompt): ListedPrompt {
  const args = Object.entries(input.shape).map(([argument, schema]) => ({
    name: argument,
    description: z.globalRegistry.get(schema)?.description ?? '',
    required: !schema.safeParse(undefined).success,
  }))
  return { name, title, description, arguments: args }
}

function jsonSchema(schema: z.ZodObject, io: 'input' | 'output'): Record<string, unknown> {
  return { ...z.toJSONSchema(schema, { target: 'draft-2020-12', io }) }
}

function standardSchema(
  json: Record<string, unknown>,
  validate: (value: unknown) => Parsed | { readonly value: unknown },
): StandardSchemaWithJSON {
  return {
    '~standard': {
      version: 1,
      vendor: 'gatehouse',
      validate,
      jsonSchema: { input: () => json, output: () => json },
    },
  }
}
