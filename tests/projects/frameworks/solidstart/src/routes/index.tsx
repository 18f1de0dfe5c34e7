export default function Home() { return <h1>solid page</h1>; }
