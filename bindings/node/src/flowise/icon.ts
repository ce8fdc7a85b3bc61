/** The file next to the node's own that has its icon. */
export const ICON_FILE = "chat-memory.svg";

/** A table's cylinder with a speech bubble, clearly different from Flowise's DynamoDB icon. */
export const ICON = `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 32 32" fill="none" stroke-linejoin="round" stroke-width="2">
<path d="M4 7v16c0 2.2 4 4 9 4s9-1.8 9-4V7" fill="#dbe7ff" stroke="#2f5bd0"/>
<ellipse cx="13" cy="7" rx="9" ry="4" fill="#f3f7ff" stroke="#2f5bd0"/>
<path d="M4 12c0 2.2 4 4 9 4" stroke="#2f5bd0"/>
<path d="M15 12h12a2 2 0 0 1 2 2v7a2 2 0 0 1-2 2h-6l-4 4v-4h-2a2 2 0 0 1-2-2v-7a2 2 0 0 1 2-2z" fill="#ffb454" stroke="#a85b00"/>
<path d="M17 16h8M17 19h5" stroke="#a85b00" stroke-linecap="round"/>
</svg>
`;
