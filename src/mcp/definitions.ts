import {
  isSpecType,
  type Prompt as ListedPrompt,
  type ResourceTemplateType as ListedTemplate,
  type Tool as ListedTool,
  type StandardSchemaWithJSON,
} from '@modelcontextprotocol/server'
import { z } from 'zod'
import type { HeaderParameter } from '../controls/protocol-guard.ts'
import type { Catalog, Prompt, Resource, Tool } from '../define.ts'
import { headerParameters } from './header-parameters.ts'

/** A tool with what the SDK wants of it, converted once: conversion in each request costs 0.3 ms a tool. */
export interface ToolDefinition {
  readonly tool: Tool
  readonly listed: ListedTool
  /** What its callers repeat in headers (`x-mcp-header`). */
  readonly headerParameters: readonly HeaderParameter[]
  /** For a tool that has such parameters; it validates nothing itself. */
  readonly headerSchema: StandardSchemaWithJSON | undefined
}

export interface Definitions {
  readonly tools: ReadonlyMap<string, ToolDefinition>
  readonly resources: ReadonlyMap<
    string,
    { readonly resource: Resource; readonly listed: ListedTemplate }
  >
  readonly prompts: ReadonlyMap<string, { readonly prompt: Prompt; readonly listed: ListedPrompt }>
  /** Whether any resource or prompt suggests values. */
  readonly complete: boolean
}

/** The parameters that callers repeat in headers, by tool. */
export function parametersInHeaders({
  tools,
}: Definitions): ReadonlyMap<string, readonly HeaderParameter[]> {
  return new Map([...tools].map(([name, { headerParameters }]) => [name, headerParameters]))
}

/** The headers that repeat parameters of tools, which a browser must be let send. */
export function paramHeaders({ tools }: Definitions): readonly string[] {
  return [...tools.values()].flatMap(({ headerParameters }) =>
    headerParameters.map(({ header }) => header),
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
    complete: [...catalog.resources, ...catalog.prompts].some(
      (item) => item.complete !== undefined,
    ),
  }
}

function toolDefinition(tool: Tool): ToolDefinition {
  const { name, title, description, annotations } = tool
  const inputSchema = jsonSchema(tool.input, 'input')
  const outputSchema = tool.output && jsonSchema(tool.output, 'output')
  const listed: unknown = {
    ...{ name, title, description, annotations, inputSchema },
    ...(outputSchema && { outputSchema }),
  }
  if (!isSpecType.Tool(listed)) throw new TypeError(`Tool ${name} is not one that MCP can list`)
  const parameters = headerParameters(name, inputSchema)
  const headerSchema = parameters.length === 0 ? undefined : unvalidated(inputSchema)
  return { tool, listed, headerParameters: parameters, headerSchema }
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

function unvalidated(json: Record<string, unknown>): StandardSchemaWithJSON {
  return {
    '~standard': {
      version: 1,
      vendor: 'gatehouse',
      validate: (value) => ({ value }),
      jsonSchema: { input: () => json, output: () => json },
    },
  }
}
