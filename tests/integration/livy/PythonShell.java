package org.apache.livy.repl;

import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.BufferedReader;
import java.io.File;
import java.io.IOException;
import java.io.InputStreamReader;
import java.io.PrintWriter;
import java.math.BigInteger;
import java.net.InetAddress;
import java.nio.charset.StandardCharsets;
import java.security.SecureRandom;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.concurrent.TimeUnit;
import org.apache.livy.rsc.driver.SparkEntries;
import org.apache.spark.SparkConf;
import py4j.GatewayServer;

/** The Python process of a session, `livy_shell.py`, and the Py4J gateway by which it reaches this JVM. */
class PythonShell {
  private static final ObjectMapper JSON = new ObjectMapper();

  private final GatewayServer gateway;
  private final Process process;
  private final PrintWriter requests;
  private final BufferedReader answers;

  /** What a statement gave, as Livy's JSON; `died` if there is no interpreter any more. */
  static final class Answer {
    final String json;
    final boolean died;

    Answer(String json, boolean died) {
      this.json = json;
      this.died = died;
    }
  }

  PythonShell(SparkConf conf, SparkEntries entries) throws IOException {
    String secret = new BigInteger(256, new SecureRandom()).toString(16);
    gateway = new GatewayServer.GatewayServerBuilder(entries)
        .authToken(secret)
        .javaPort(0)
        .javaAddress(InetAddress.getLoopbackAddress())
        .build();
    gateway.start();
    String python = choose(conf, "spark.pyspark.python", "PYSPARK_PYTHON");
    ProcessBuilder builder = new ProcessBuilder(python, System.getenv("LIVY_SHELL"));
    Map<String, String> env = builder.environment();
    env.put("PYSPARK_PYTHON", python);
    env.put("PYSPARK_DRIVER_PYTHON", choose(conf, "spark.pyspark.driver.python", "PYSPARK_DRIVER_PYTHON"));
    env.put("PYTHONPATH", String.join(File.pathSeparator, findPath()));
    env.put("PYTHONUNBUFFERED", "YES");
    env.put("PYSPARK_GATEWAY_PORT", String.valueOf(gateway.getListeningPort()));
    env.put("PYSPARK_GATEWAY_SECRET", secret);
    builder.redirectError(ProcessBuilder.Redirect.INHERIT);
    process = start(builder, gateway);
    requests = new PrintWriter(process.outputWriter(StandardCharsets.UTF_8));
    answers = new BufferedReader(new InputStreamReader(process.getInputStream(), StandardCharsets.UTF_8));
    String line;
    do {
      line = answers.readLine();
    } while (line != null && !line.equals("READY"));
    if (line == null) {
      close();
      throw new IOException(python + " did not become ready");
    }
  }

  private static Process start(ProcessBuilder builder, GatewayServer gateway) throws IOException {
    try {
      return builder.start();
    } catch (IOException error) {
      gateway.shutdown();
      throw error;
    }
  }

  Answer execute(int count, String code) {
    requests.println(JSON.createObjectNode().put("code", code));
    requests.flush();
    try {
      String line = answers.readLine();
      if (line != null) {
        ObjectNode reply = (ObjectNode) JSON.readTree(line);
        return new Answer(reply.put("execution_count", count).toString(), false);
      }
    } catch (IOException error) {
      error.printStackTrace();
    }
    return new Answer(refuse(count, "Error", "Interpreter died:\n").json, true);
  }

  static Answer refuse(int count, String name, String value) {
    ObjectNode reply = JSON.createObjectNode().put("status", "error").put("execution_count", count);
    reply.put("ename", name).put("evalue", value).putArray("traceback");
    return new Answer(reply.toString(), false);
  }

  void close() {
    requests.close();
    try {
      if (!process.waitFor(5, TimeUnit.SECONDS)) {
        process.destroyForcibly();
      }
    } catch (InterruptedException closing) {
      process.destroyForcibly();
    }
    gateway.shutdown();
  }

  private static String choose(SparkConf conf, String key, String variable) {
    return conf.get(key, System.getenv().getOrDefault(variable, "python"));
  }

  /** Python's path: what was there, Spark's own archives, the session's files. */
  private static List<String> findPath() {
    List<String> path = new ArrayList<>(List.of(System.getenv().getOrDefault("PYTHONPATH", "")));
    File[] archives = new File(System.getenv("SPARK_HOME"), "python/lib").listFiles(
        (folder, name) -> name.equals("pyspark.zip") || name.matches("py4j-.*-src\\.zip"));
    for (File archive : archives == null ? new File[0] : archives) {
      path.add(archive.getPath());
    }
    path.addAll(Arrays.asList(System.getProperty("spark.submit.pyFiles", "").split(",")));
    path.removeIf(String::isEmpty);
    return path;
  }
}
